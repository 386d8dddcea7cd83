package shmq.perf;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;

/**
 * An unmodified producer under load: {@code Driver NAME_SERVER TOPIC THREADS BODY_BYTES MODE IN_FLIGHT}, MODE sync or
 * async, IN_FLIGHT the most unanswered messages of async. Prints {@code ready}; then each line on stdin is a number of
 * seconds to send for, and is answered by one line of JSON. The end of stdin ends it. A send that fails, or whose
 * status is not SEND_OK, makes the run a failure.
 */
public final class Driver {
    private static final long SECOND_NS = 1_000_000_000L;

    private final DefaultMQProducer producer;
    private final String topic;
    private final int threads;
    private final byte[] body;
    private final boolean async;
    private final Semaphore room;
    private final int inFlight;
    private final AtomicReference<String> failure = new AtomicReference<>();

    private Driver(String[] arguments) throws Exception {
        producer = new DefaultMQProducer("perf-producer");
        producer.setNamesrvAddr(arguments[0]);
        producer.setSendMsgTimeout(30_000);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setRetryTimesWhenSendAsyncFailed(0);
        topic = arguments[1];
        threads = Integer.parseInt(arguments[2]);
        body = new byte[Integer.parseInt(arguments[3])];
        async = arguments[4].equals("async");
        inFlight = Integer.parseInt(arguments[5]);
        room = new Semaphore(inFlight);
        producer.start();
    }

    public static void main(String[] arguments) throws Exception {
        Driver driver = new Driver(arguments);
        System.out.println("ready");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(driver.run(Double.parseDouble(line)));
        }
        System.exit(0);
    }

    private String run(double seconds) throws InterruptedException {
        failure.set(null);
        AtomicLong sent = new AtomicLong();
        List<long[]> latencies = new ArrayList<>();
        List<Thread> running = new ArrayList<>();
        long beginNs = System.nanoTime();
        long endNs = beginNs + (long) (seconds * SECOND_NS);
        for (int number = 0; number < threads; number++) {
            Thread thread = new Thread(() -> {
                long[] found = async ? sendAsync(endNs, sent) : sendSync(endNs, sent);
                synchronized (latencies) {
                    latencies.add(found);
                }
            });
            running.add(thread);
            thread.start();
        }
        for (Thread thread : running) {
            thread.join();
        }
        if (async) {
            room.acquire(inFlight); // every answer has come
            room.release(inFlight);
        }
        double elapsed = (System.nanoTime() - beginNs) / (double) SECOND_NS;
        if (failure.get() != null) {
            return "{\"failed\":\"" + failure.get().replaceAll("[\"\\\\\\n]", " ") + "\"}";
        }
        long[] all = latencies.stream().flatMapToLong(Arrays::stream).sorted().toArray();
        return String.format("{\"messages\":%d,\"seconds\":%.6f,\"p50\":%d,\"p99\":%d,\"p999\":%d}",
            sent.get(), elapsed, percentile(all, 0.5), percentile(all, 0.99), percentile(all, 0.999));
    }

    /** One at a time; the latencies are from each call to its return. */
    private long[] sendSync(long endNs, AtomicLong sent) {
        long[] found = new long[1024];
        int count = 0;
        for (long beginNs = System.nanoTime(); beginNs < endNs && failure.get() == null;) {
            try {
                judge(producer.send(new Message(topic, "TagA", body)));
            } catch (Exception refused) {
                failure.compareAndSet(null, refused.toString());
                break;
            }
            long nowNs = System.nanoTime();
            if (count == found.length) {
                found = Arrays.copyOf(found, count * 2);
            }
            found[count++] = nowNs - beginNs;
            beginNs = nowNs;
        }
        sent.addAndGet(count);
        return Arrays.copyOf(found, count);
    }

    /** As many as there is room for; no latencies: a send waits for room, not for its answer. */
    private long[] sendAsync(long endNs, AtomicLong sent) {
        while (System.nanoTime() < endNs && failure.get() == null) {
            room.acquireUninterruptibly();
            try {
                producer.send(new Message(topic, "TagA", body), new SendCallback() {
                    @Override
                    public void onSuccess(SendResult result) {
                        judge(result);
                        sent.incrementAndGet();
                        room.release();
                    }

                    @Override
                    public void onException(Throwable refused) {
                        failure.compareAndSet(null, refused.toString());
                        room.release();
                    }
                });
            } catch (Exception refused) {
                failure.compareAndSet(null, refused.toString());
                room.release();
            }
        }
        return new long[0];
    }

    private void judge(SendResult result) {
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            failure.compareAndSet(null, "status " + result.getSendStatus());
        }
    }

    private static long percentile(long[] sorted, double share) {
        return sorted.length == 0 ? 0 : sorted[Math.min(sorted.length - 1, (int) (sorted.length * share))];
    }
}
