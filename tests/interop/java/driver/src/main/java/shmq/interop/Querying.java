package shmq.interop;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;

/** What is found by a key ({@code --key}, between two times), or by an id of either kind ({@code --id}). */
final class Querying {
    private static final int NO_MESSAGE = 208; // ResponseCode.NO_MESSAGE, which has moved between the versions

    private final Options options;
    private final Report report;
    private final DefaultMQProducer producer;
    private final String topic;

    Querying(Options options, Report report) {
        this.options = options;
        this.report = report;
        topic = options.text("topic");
        producer = new DefaultMQProducer(options.text("group"));
        producer.setNamesrvAddr(options.text("namesrv"));
    }

    boolean run() throws Exception {
        producer.start();
        List<Object> messages = new ArrayList<>();
        for (MessageExt message : found()) {
            messages.add(described((MessageClientExt) message));
        }
        producer.shutdown();
        report.event("result", Map.of("messages", messages));
        return true;
    }

    private List<MessageExt> found() throws Exception {
        try {
            String id = options.text("id", "");
            if (!id.isEmpty()) {
                return List.of(producer.viewMessage(topic, id));
            }
            return producer.queryMessage(
                topic,
                options.text("key"),
                options.number("max", 64),
                options.bigNumber("begin-ms", 0),
                options.bigNumber("end-ms", Long.MAX_VALUE)).getMessageList();
        } catch (MQClientException failure) {
            if (failure.getResponseCode() != NO_MESSAGE) {
                throw failure;
            }
            return List.of();
        }
    }

    private Map<String, Object> described(MessageClientExt message) {
        String[] head = Body.head(message.getBody());
        int seq = Integer.parseInt(head[1]);
        return Map.of(
            "number", seq,
            "is_whole", Arrays.equals(message.getBody(), Body.of(head[0], seq, options.flag("binary"))),
            "topic", message.getTopic(),
            "keys", message.getKeys(),
            "unique_id", message.getMsgId(),
            "offset_id", message.getOffsetMsgId(),
            "queue_id", message.getQueueId(),
            "queue_offset", message.getQueueOffset(),
            "stored_ms", message.getStoreTimestamp());
    }
}
