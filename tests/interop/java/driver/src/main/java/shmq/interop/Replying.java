package shmq.interop;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.MessageExt;

/** Replies to each request of a run, until it is told to stop; a refused reply is counted with the broker's words. */
final class Replying {
    private static final int TIMEOUT_MS = 15_000;

    private final Options options;
    private final Report report;
    private final DefaultMQProducer producer;
    private final Map<String, Integer> refused = new TreeMap<>();
    private int replied;
    private int handled;

    Replying(Options options, Report report) {
        this.options = options;
        this.report = report;
        producer = new DefaultMQProducer(options.text("group") + "-producers");
    }

    /** The run that the replies to a run's requests are of. */
    static String run(Options options) {
        return options.text("run") + "-reply";
    }

    boolean run() throws Exception {
        Commands commands = Commands.listen();
        producer.setNamesrvAddr(options.text("namesrv"));
        producer.setVipChannelEnabled(false);
        producer.start();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(options.text("group"));
        consumer.setNamesrvAddr(options.text("namesrv"));
        consumer.setVipChannelEnabled(false);
        consumer.setPollNameServerInterval(1000);
        consumer.subscribe(options.text("topic"), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(this::reply);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        report.event("ready", Map.of());
        while (!commands.awaitStop(TIMEOUT_MS)) {
            report.event("waiting", Map.of());
        }
        consumer.shutdown();
        producer.shutdown();
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("replied", replied);
        result.put("refused", refused);
        report.event("result", result);
        return true;
    }

    private void reply(MessageExt request) {
        String[] head = Body.head(request.getBody());
        if (head == null || !head[0].equals(options.text("run"))) {
            return;
        }
        try {
            Thread.sleep(options.number("listener-ms", 0));
            byte[] body = Body.of(run(options), Integer.parseInt(head[1]), options.flag("binary"));
            SendStatus status = producer.send(MessageUtil.createReplyMessage(request, body), TIMEOUT_MS).getSendStatus();
            note(status == SendStatus.SEND_OK ? null : status.name());
        } catch (Exception failure) {
            note(reason(failure));
        }
    }

    /** What the broker said, also where the library has tried again and wraps it. */
    private static String reason(Exception failure) {
        for (Throwable each = failure; each != null; each = each.getCause()) {
            if (each instanceof MQBrokerException) {
                MQBrokerException refusal = (MQBrokerException) each;
                return refusal.getResponseCode() + " " + refusal.getErrorMessage();
            }
        }
        return String.valueOf(failure);
    }

    private synchronized void note(String refusal) {
        if (refusal == null) {
            replied++;
        } else {
            refused.merge(refusal, 1, Integer::sum);
            report.event("refused", Map.of("reason", refusal));
        }
        report.event("handled", Map.of("count", ++handled));
    }
}
