package shmq.interop;

import java.util.Collection;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * A push consumer that leaves it to the broker which queues it gets, and whether it pulls or pops them.
 *
 * <p>Clients of 4.x cannot, and do not even compile it: hence the reflection.
 */
final class PopMode {
    private PopMode() {
    }

    static void prepare(DefaultMQPushConsumer consumer, Options options) throws ReflectiveOperationException {
        Class<?> kind = DefaultMQPushConsumer.class;
        kind.getMethod("setClientRebalance", boolean.class).invoke(consumer, false);
        kind.getMethod("setPopInvisibleTime", long.class).invoke(consumer, options.bigNumber("invisible-ms", 60_000));
    }

    /** The queues that it pops; -1 is the id of any queue. */
    static Collection<MessageQueue> assignment(DefaultMQPushConsumer consumer) {
        Object rebalance = consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl();
        try {
            @SuppressWarnings("unchecked")
            Map<MessageQueue, ?> popped =
                (Map<MessageQueue, ?>) rebalance.getClass().getMethod("getPopProcessQueueTable").invoke(rebalance);
            return popped.keySet();
        } catch (ReflectiveOperationException failure) {
            throw new IllegalStateException("this client does not pop", failure);
        }
    }
}
