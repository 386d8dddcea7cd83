package shmq.interop;

import java.lang.reflect.Method;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;

/** The message model of a consumer, whose type lies in another package in each version of the library. */
final class Models {
    private Models() {
    }

    static void broadcast(DefaultMQPushConsumer consumer) {
        try {
            for (Method method : DefaultMQPushConsumer.class.getMethods()) {
                if (method.getName().equals("setMessageModel")) {
                    Object model = method.getParameterTypes()[0].getField("BROADCASTING").get(null);
                    method.invoke(consumer, model);
                }
            }
        } catch (ReflectiveOperationException failure) {
            throw new IllegalStateException("no such message model", failure);
        }
    }
}
