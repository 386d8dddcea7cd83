package shmq.interop;

import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.common.message.MessageQueue;

/** What the broker says of each queue of a topic: smallest and next offset, and what the group has committed. */
final class QueueBounds {
    private final Options options;
    private final Report report;

    QueueBounds(Options options, Report report) {
        this.options = options;
        this.report = report;
    }

    boolean run() throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(options.text("group"));
        consumer.setNamesrvAddr(options.text("namesrv"));
        consumer.start();
        Map<String, Object> queues = new TreeMap<>();
        for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(options.text("topic"))) {
            queues.put(queue.getBrokerName() + ":" + queue.getQueueId(), Map.of(
                "min", consumer.minOffset(queue),
                "max", consumer.maxOffset(queue),
                "found_at_0", consumer.searchOffset(queue, 0),
                "committed", consumer.fetchConsumeOffset(queue, true)));
        }
        consumer.shutdown();
        report.event("result", Map.of("queues", queues));
        return true;
    }
}
