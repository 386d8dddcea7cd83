package shmq.interop;

import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;

/**
 * Sends messages that are to come later: number n after {@code --least-ms} and up to {@code --spread-ms} more.
 *
 * <p>{@code --form} says how that is asked for: {@code moment} takes a delay in ms, one in seconds and a time in turn, by
 * the methods of a client that has them and else by properties; {@code level} takes delay level 1 or 2. With
 * {@code --recall-every K} every K-th message is taken back right after it was sent, which only client 5 can.
 */
final class TimedProducing {
    private static final int TIMEOUT_MS = 20_000;

    private final Options options;
    private final Report report;
    private final DefaultMQProducer producer;

    TimedProducing(Options options, Report report) {
        this.options = options;
        this.report = report;
        producer = new DefaultMQProducer(options.text("group"));
        producer.setNamesrvAddr(options.text("namesrv"));
        producer.setDefaultTopicQueueNums(8);
        producer.setSendMsgTimeout(TIMEOUT_MS);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setPollNameServerInterval(1000);
    }

    boolean run() throws Exception {
        int recallEvery = options.number("recall-every", 0);
        int sent = 0;
        int recalled = 0;
        producer.start();
        report.event("ready", Map.of());
        for (int seq = 0; seq < options.number("count"); seq++) {
            Message message = Sample.of(options, seq);
            delay(message, seq);
            SendResult result = producer.send(message);
            if (result.getSendStatus() != SendStatus.SEND_OK) {
                throw new IllegalStateException("the broker answered " + result);
            }
            sent++;
            if (recallEvery > 0 && seq % recallEvery == 0) {
                recall(result);
                recalled++;
            }
        }
        producer.shutdown();
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("sent", sent);
        fields.put("recalled", recalled);
        report.event("result", fields);
        return true;
    }

    private void delay(Message message, int seq) throws Exception {
        if (options.text("form", "moment").equals("level")) {
            message.setDelayTimeLevel(1 + seq % 2);
            return;
        }
        long afterMs = options.number("least-ms") + seq * 37L % options.number("spread-ms");
        switch (seq % 3) {
            case 0:
                ask(message, "setDelayTimeMs", "TIMER_DELAY_MS", afterMs);
                break;
            case 1:
                ask(message, "setDelayTimeSec", "TIMER_DELAY_SEC", afterMs / 1000 + 1);
                break;
            default:
                ask(message, "setDeliverTimeMs", "TIMER_DELIVER_MS", System.currentTimeMillis() + afterMs);
        }
    }

    private static void ask(Message message, String method, String property, long value) throws Exception {
        try {
            Message.class.getMethod(method, long.class).invoke(message, value);
        } catch (NoSuchMethodException absent) { // client 4 knows no such moment, and hands on what it does not know
            MessageAccessor.putProperty(message, property, String.valueOf(value));
        }
    }

    private void recall(SendResult result) throws Exception {
        String handle = (String) SendResult.class.getMethod("getRecallHandle").invoke(result);
        Object id = DefaultMQProducer.class.getMethod("recallMessage", String.class, String.class)
            .invoke(producer, options.text("topic"), handle);
        if (!result.getMsgId().equals(id)) {
            throw new IllegalStateException("recalled " + id + " instead of " + result.getMsgId());
        }
    }
}
