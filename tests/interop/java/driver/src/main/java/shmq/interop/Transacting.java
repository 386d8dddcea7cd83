package shmq.interop;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Sends messages of a run in transactions, then answers checks until it is stopped.
 *
 * <p>Even numbers are committed, odd ones rolled back: number n at once where {@code n % 4 < 2}, else it is unknown until
 * the broker asks; with {@code --undecided true} all are. With {@code --halt-at N} the process ends in the middle of transaction N, with nothing said of it.
 * With {@code --count 0} it answers checks alone.
 */
final class Transacting implements TransactionListener {
    private static final int TIMEOUT_MS = 20_000;
    private static final int WATCH_MS = 200;
    private static final int FAILURES_KEPT = 20;

    private final Options options;
    private final Report report;
    private final TransactionMQProducer producer;
    private final int haltAt;
    private final AtomicInteger sent = new AtomicInteger();
    private final AtomicInteger checks = new AtomicInteger();
    private final Set<Integer> checked = ConcurrentHashMap.newKeySet();
    private final List<String> failures = new ArrayList<>();

    Transacting(Options options, Report report) {
        this.options = options;
        this.report = report;
        haltAt = options.number("halt-at", -1);
        producer = new TransactionMQProducer(options.text("group"));
        producer.setNamesrvAddr(options.text("namesrv"));
        producer.setDefaultTopicQueueNums(8);
        producer.setSendMsgTimeout(TIMEOUT_MS);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setPollNameServerInterval(1000);
        producer.setHeartbeatBrokerInterval(1000);
        producer.setTransactionListener(this);
    }

    boolean run() throws Exception {
        Commands commands = Commands.listen();
        producer.start();
        if (options.number("count") == 0) {
            meetBroker(commands);
        }
        report.event("ready", Map.of());
        int threadCount = options.number("threads", 1);
        List<Thread> threads = new ArrayList<>();
        for (int t = 0; t < threadCount; t++) {
            int first = t;
            threads.add(new Thread(() -> sendAll(first, threadCount), "sender-" + t));
        }
        threads.forEach(Thread::start);
        boolean isSaid = false;
        do {
            boolean isSent = threads.stream().noneMatch(Thread::isAlive);
            report.event(isSent && !isSaid ? "sent" : "progress", result());
            isSaid |= isSent;
        } while (!commands.awaitStop(WATCH_MS));
        for (Thread thread : threads) {
            thread.join();
        }
        producer.shutdown();
        report.event("result", result());
        return failures.isEmpty();
    }

    @Override
    public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
        int seq = (Integer) argument;
        if (seq == haltAt) {
            Runtime.getRuntime().halt(9);
        }
        return seq % 4 < 2 && !options.flag("undecided") ? verdict(seq) : LocalTransactionState.UNKNOW;
    }

    @Override
    public LocalTransactionState checkLocalTransaction(MessageExt message) {
        checks.incrementAndGet();
        String[] head = Body.head(message.getBody());
        if (head == null || !head[0].equals(options.text("run")) || !message.getTopic().equals(options.text("topic"))) {
            failed("asked for a message that nobody sent: " + message);
            return LocalTransactionState.UNKNOW;
        }
        int seq = Integer.parseInt(head[1]);
        checked.add(seq);
        if (!java.util.Arrays.equals(message.getBody(), Body.of(head[0], seq, options.flag("binary")))) {
            failed("asked for a message with another body: " + message);
        }
        return verdict(seq);
    }

    /** A client knows a broker, and so sends it heartbeats, by the route of a topic that it has used. */
    private void meetBroker(Commands commands) throws InterruptedException {
        MQClientInstance client = producer.getDefaultMQProducerImpl().getMqClientFactory();
        boolean isKnown = false;
        while (!isKnown && !commands.awaitStop(WATCH_MS)) {
            try {
                isKnown = client.updateTopicRouteInfoFromNameServer(options.text("topic"));
            } catch (IllegalStateException slow) {
                slow.printStackTrace(); // a loaded machine answers late
            }
        }
        client.sendHeartbeatToAllBrokerWithLock();
    }

    private static LocalTransactionState verdict(int seq) {
        return seq % 2 == 0 ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
    }

    private void sendAll(int first, int step) {
        for (int seq = first; seq < options.number("count"); seq += step) {
            boolean isOver = false;
            while (!isOver) {
                isOver = send(seq);
            }
        }
    }

    /** Send one message; return whether that was tried at all: without a route it was not, and is to be tried again. */
    private boolean send(int seq) {
        try {
            TransactionSendResult result = producer.sendMessageInTransaction(Sample.of(options, seq), seq);
            if (result.getSendStatus() == SendStatus.SEND_OK) {
                sent.incrementAndGet();
            } else {
                failed("the broker answered " + result);
            }
        } catch (Exception failure) {
            failure.printStackTrace();
            if (failure.getCause() instanceof IllegalStateException) {
                return false;
            }
            failed(String.valueOf(failure));
        }
        return true;
    }

    private synchronized void failed(String what) {
        if (failures.size() < FAILURES_KEPT) {
            failures.add(what);
        }
    }

    private synchronized Map<String, Object> result() {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("sent", sent.get());
        fields.put("checks", checks.get());
        fields.put("checked", checked.size());
        fields.put("failures", new ArrayList<>(failures));
        return fields;
    }
}
