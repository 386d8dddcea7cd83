package shmq.interop;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * A push consumer, concurrent or orderly, until it is told to stop.
 *
 * <p>With {@code --fail-every K} it refuses each message whose number K divides the first time it sees it, and counts
 * it only when the broker delivers it again through the group's retry topic. With {@code --refuse-every K} it refuses
 * such a message however often it comes. With {@code --class-filter SOURCE} it uploads a filter to the broker's filter
 * servers, and pulls through them. With {@code --pop true} the broker decides how it gets its messages.
 */
final class PushConsuming {
    private static final int THREADS = 8;
    private static final int AWAIT_HANDLED_MS = 10_000;
    private static final int RETRY_AFTER_1_S = 1;
    private static final int HEARTBEAT_MS = 1000;

    private final Options options;
    private final Report report;
    private final Tally tally;
    private final int failEvery;
    private final int refuseEvery;
    private final boolean pop;
    private final int listenerMs;
    private final AtomicInteger largestBatch = new AtomicInteger();
    private final AtomicInteger refused = new AtomicInteger();
    private final AtomicInteger retried = new AtomicInteger();

    PushConsuming(Options options, Report report) {
        this.options = options;
        this.report = report;
        tally = new Tally(options);
        failEvery = options.number("fail-every", 0);
        refuseEvery = options.number("refuse-every", 0);
        pop = options.flag("pop");
        listenerMs = options.number("listener-ms", 0);
    }

    boolean run() throws Exception {
        Commands commands = Commands.listen();
        DefaultMQPushConsumer consumer = configured();
        if (pop) {
            PopMode.prepare(consumer, options);
        }
        String source = options.text("class-filter", "");
        if (source.isEmpty()) {
            consumer.subscribe(options.text("topic"), Selection.of(options));
        } else {
            consumer.setHeartbeatBrokerInterval(HEARTBEAT_MS); // with each it uploads the filter
            consumer.subscribe(options.text("topic"), "shmq.interop.Uploaded", source);
        }
        if (options.flag("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                pause();
                messages.forEach(tally::accept);
                return ConsumeOrderlyStatus.SUCCESS;
            });
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) this::consume);
        }
        consumer.start();
        report.event("ready", Map.of());
        new Watching(report, tally, () -> assignment(consumer)).untilStopped(commands);
        consumer.shutdown();
        Map<String, Object> result = new LinkedHashMap<>(tally.result());
        result.put("refused", refused.get());
        result.put("retried", retried.get());
        result.put("largest_batch", largestBatch.get());
        report.event("result", result);
        return tally.isClean();
    }

    private DefaultMQPushConsumer configured() {
        // The library reads it when its classes are loaded.
        System.setProperty("rocketmq.client.rebalance.lockInterval", options.text("lock-ms", "20000"));
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(options.text("group"), options.flag("trace"), null);
        consumer.setNamesrvAddr(options.text("namesrv"));
        consumer.setVipChannelEnabled(options.flag("vip"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.valueOf(options.text("from", "CONSUME_FROM_FIRST_OFFSET")));
        if (options.bigNumber("from-ms", 0) > 0) {
            consumer.setConsumeTimestamp(UtilAll.timeMillisToHumanString3(options.bigNumber("from-ms", 0)));
        }
        consumer.setPollNameServerInterval(1000);
        // A subscription that client 5 renews while a heartbeat is under way goes with the next, and until then no pull is
        // answered: not half a minute.
        consumer.setHeartbeatBrokerInterval(options.number("heartbeat-ms", 5000));
        consumer.setConsumeThreadMin(THREADS);
        consumer.setConsumeThreadMax(THREADS);
        consumer.setConsumeMessageBatchMaxSize(options.number("batch", 1));
        consumer.setPullThresholdForQueue(options.number("threshold", 1000));
        consumer.setMaxReconsumeTimes(options.number("max-reconsume", -1));
        consumer.setAwaitTerminationMillisWhenShutdown(AWAIT_HANDLED_MS);
        if (options.flag("broadcasting")) {
            Models.broadcast(consumer);
        }
        if (!options.text("namespace", "").isEmpty()) {
            consumer.setNamespace(options.text("namespace"));
        }
        return consumer;
    }

    private ConsumeConcurrentlyStatus consume(List<MessageExt> messages, ConsumeConcurrentlyContext context) {
        largestBatch.accumulateAndGet(messages.size(), Math::max);
        pause();
        for (MessageExt message : messages) {
            String[] head = Body.head(message.getBody());
            if (refuseEvery > 0 && head != null && Integer.parseInt(head[1]) % refuseEvery == 0) {
                refused.incrementAndGet();
                if (!pop) {
                    context.setDelayLevelWhenNextConsume(RETRY_AFTER_1_S);
                }
                return ConsumeConcurrentlyStatus.RECONSUME_LATER; // a batch is one message here
            }
            if (failEvery > 0 && head != null && Integer.parseInt(head[1]) % failEvery == 0) {
                if (message.getReconsumeTimes() == 0) {
                    refused.incrementAndGet();
                    if (!pop) { // who pops has other levels, of which the first is the default
                        context.setDelayLevelWhenNextConsume(RETRY_AFTER_1_S);
                    }
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER; // a batch is one message here
                }
                retried.incrementAndGet();
            }
            tally.accept(message);
        }
        return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    }

    private void pause() {
        try {
            Thread.sleep(listenerMs);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private Collection<MessageQueue> assignment(DefaultMQPushConsumer consumer) {
        String topic = options.text("topic");
        if (pop) {
            return PopMode.assignment(consumer).stream()
                .filter(queue -> queue.getTopic().equals(topic)).collect(Collectors.toList());
        }
        return consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
            .filter(queue -> queue.getTopic().equals(consumer.withNamespace(topic))).collect(Collectors.toList());
    }
}
