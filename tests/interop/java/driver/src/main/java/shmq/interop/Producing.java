package shmq.interop;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.exception.RemotingException;

/**
 * Sends messages {@code first} to {@code first + count} of a run, each once: no retries, so a failure is one.
 *
 * <p>Thread t of T sends the numbers that leave t when divided by T, in rising order. With {@code --shards K} number
 * n goes to queue {@code n % K}; where T divides K, each queue then receives rising numbers (but not in mode async:
 * the client sends from threads of its own).
 */
final class Producing {
    private static final int IN_FLIGHT_MAX = 256;
    private static final int BATCH_COUNT = 50;
    private static final int TIMEOUT_MS = 20_000;
    private static final int FAILURES_KEPT = 20;
    private static final int PROGRESS_EVERY = 50;

    private final Options options;
    private final Report report;
    private final DefaultMQProducer producer;
    private final int shards;
    private final AtomicInteger sent = new AtomicInteger();
    private final AtomicInteger failureCount = new AtomicInteger();
    private final List<String> failures = new ArrayList<>();
    private final Map<String, BitSet> offsetsOfQueue = new TreeMap<>();
    private final Set<String> uniqueIds = new HashSet<>();
    private int offsetsDoubled;
    private int repeated;

    Producing(Options options, Report report) {
        this.options = options;
        this.report = report;
        shards = options.number("shards", 0);
        // The library reads this when its classes are loaded; one that knows no other type than zlib takes no note.
        System.setProperty("rocketmq.message.compressType", options.text("compress-type", "ZLIB"));
        producer = new DefaultMQProducer(options.text("group"), options.flag("trace"), null);
        producer.setNamesrvAddr(options.text("namesrv"));
        producer.setVipChannelEnabled(options.flag("vip"));
        producer.setDefaultTopicQueueNums(8);
        producer.setSendMsgTimeout(options.number("timeout-ms", TIMEOUT_MS));
        producer.setCompressMsgBodyOverHowmuch(options.number("compress-over", 4096));
        producer.setSendLatencyFaultEnable(options.flag("latency-fault"));
        producer.setRetryTimesWhenSendFailed(0);
        producer.setRetryTimesWhenSendAsyncFailed(0);
        producer.setPollNameServerInterval(1000);
        if (!options.text("namespace", "").isEmpty()) {
            producer.setNamespace(options.text("namespace"));
        }
    }

    boolean run() throws Exception {
        int threadCount = options.number("threads", 1);
        if (shards % threadCount != 0) {
            throw new IllegalArgumentException("--shards must be a multiple of --threads to keep each queue ordered");
        }
        producer.start();
        report.event("ready", Map.of());
        long startedNs = System.nanoTime();
        List<Thread> threads = new ArrayList<>();
        for (int t = 0; t < threadCount; t++) {
            List<Integer> numbers = new ArrayList<>();
            int first = options.number("first", 0);
            for (int seq = first + t; seq < first + options.number("count"); seq += threadCount) {
                numbers.add(seq);
            }
            threads.add(new Thread(() -> sendAll(numbers), "sender-" + t));
        }
        threads.forEach(Thread::start);
        for (Thread thread : threads) {
            thread.join();
        }
        long elapsedMs = (System.nanoTime() - startedNs) / 1_000_000;
        producer.shutdown();
        report.event("result", result(elapsedMs));
        return failureCount.get() == 0;
    }

    private void sendAll(List<Integer> numbers) {
        try {
            switch (options.text("mode")) {
                case "sync":
                    sendSync(numbers);
                    break;
                case "until-stored":
                    sendUntilStored(numbers);
                    break;
                case "async":
                    sendAsync(numbers);
                    break;
                case "oneway":
                    sendOneway(numbers);
                    break;
                case "batch":
                    sendBatches(numbers);
                    break;
                default:
                    throw new IllegalArgumentException("unknown mode " + options.text("mode"));
            }
        } catch (Exception failure) {
            failed(failure);
        }
    }

    private void sendSync(List<Integer> numbers) throws Exception {
        for (int seq : numbers) {
            Message message = Sample.of(options, seq);
            acknowledged(shards > 0 ? producer.send(message, this::queueOf, seq) : producer.send(message), 1);
        }
    }

    /** Repeat each send until it is acknowledged: a message may so be stored twice, and none is missing. */
    private void sendUntilStored(List<Integer> numbers) throws InterruptedException {
        for (int seq : numbers) {
            while (!isStored(seq)) {
                if (options.number("pause-ms", 0) > 0) {
                    Thread.sleep(options.number("pause-ms"));
                }
            }
        }
    }

    private boolean isStored(int seq) throws InterruptedException {
        try {
            acknowledged(producer.send(Sample.of(options, seq)), 1);
            return true;
        } catch (RemotingException | MQBrokerException | MQClientException failure) {
            synchronized (this) {
                repeated++;
                report.event("repeated", Map.of("number", seq, "reason", String.valueOf(failure)));
            }
            return false;
        }
    }

    private void sendAsync(List<Integer> numbers) throws Exception {
        Semaphore inFlight = new Semaphore(IN_FLIGHT_MAX);
        CountDownLatch answered = new CountDownLatch(numbers.size());
        SendCallback callback = new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                acknowledged(result, 1);
                inFlight.release();
                answered.countDown();
            }

            @Override
            public void onException(Throwable failure) {
                failed(failure);
                inFlight.release();
                answered.countDown();
            }
        };
        for (int seq : numbers) {
            inFlight.acquire();
            if (shards > 0) {
                producer.send(Sample.of(options, seq), this::queueOf, seq, callback);
            } else {
                producer.send(Sample.of(options, seq), callback);
            }
        }
        answered.await();
    }

    private void sendOneway(List<Integer> numbers) throws Exception {
        for (int seq : numbers) {
            Message message = Sample.of(options, seq);
            if (shards > 0) {
                producer.sendOneway(message, this::queueOf, seq);
            } else {
                producer.sendOneway(message);
            }
            if (sent.incrementAndGet() % PROGRESS_EVERY == 0 && options.flag("progress")) {
                report.event("progress", Map.of("sent", sent.get()));
            }
        }
    }

    private void sendBatches(List<Integer> numbers) throws Exception {
        for (int from = 0; from < numbers.size(); from += BATCH_COUNT) {
            List<Message> batch = new ArrayList<>();
            for (int seq : numbers.subList(from, Math.min(from + BATCH_COUNT, numbers.size()))) {
                batch.add(Sample.of(options, seq));
            }
            acknowledged(producer.send(batch), batch.size());
        }
    }

    private MessageQueue queueOf(List<MessageQueue> queues, Message message, Object seq) {
        if (queues.size() < shards) {
            throw new IllegalStateException(shards + " shards need as many queues, not " + queues.size());
        }
        return queues.stream().sorted().skip((Integer) seq % shards).findFirst().orElseThrow();
    }

    private synchronized void acknowledged(SendResult result, int count) {
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            failed(new IllegalStateException("the broker answered " + result));
            return;
        }
        MessageQueue queue = result.getMessageQueue();
        BitSet offsets = offsetsOfQueue.computeIfAbsent(
            queue.getBrokerName() + ":" + queue.getQueueId(), name -> new BitSet());
        for (int i = 0; i < count; i++) {
            int offset = (int) result.getQueueOffset() + i; // a batch lies in one piece; its first offset is answered
            offsetsDoubled += offsets.get(offset) ? 1 : 0;
            offsets.set(offset);
        }
        if (result.getMsgId() == null || result.getOffsetMsgId() == null) {
            failed(new IllegalStateException("no message id in " + result));
        }
        uniqueIds.add(result.getMsgId());
        if (sent.addAndGet(count) % PROGRESS_EVERY == 0 && options.flag("progress")) {
            report.event("progress", Map.of("sent", sent.get(), "broker", queue.getBrokerName()));
        }
    }

    private synchronized void failed(Throwable failure) {
        failureCount.incrementAndGet();
        if (failures.size() < FAILURES_KEPT) {
            failures.add(String.valueOf(failure));
            failure.printStackTrace();
        }
    }

    private synchronized Map<String, Object> result(long elapsedMs) {
        Map<String, Object> queues = new TreeMap<>();
        offsetsOfQueue.forEach((queue, offsets) -> queues.put(queue, Map.of(
            "first", offsets.nextSetBit(0), "last", offsets.length() - 1, "distinct", offsets.cardinality())));
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("sent", sent.get());
        fields.put("failure_count", failureCount.get());
        fields.put("failures", failures);
        fields.put("offsets_doubled", offsetsDoubled);
        fields.put("unique_ids", uniqueIds.size());
        fields.put("repeated", repeated);
        fields.put("queues", queues);
        fields.put("elapsed_ms", elapsedMs);
        return fields;
    }
}
