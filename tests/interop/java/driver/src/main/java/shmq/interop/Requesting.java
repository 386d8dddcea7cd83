package shmq.interop;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Semaphore;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.common.message.Message;

/**
 * Sends requests and compares every reply, in mode sync or async. A request that is not replied to in time is repeated:
 * whoever replies may be gone for a while.
 */
final class Requesting {
    private static final int IN_FLIGHT_MAX = 32;
    private static final int PROGRESS_EVERY = 20;

    private final Options options;
    private final Report report;
    private final BitSet replied = new BitSet();
    private final List<String> faults = new ArrayList<>();
    private int timeouts;

    Requesting(Options options, Report report) {
        this.options = options;
        this.report = report;
    }

    boolean run() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(options.text("group"));
        producer.setNamesrvAddr(options.text("namesrv"));
        producer.setVipChannelEnabled(false);
        producer.setPollNameServerInterval(1000);
        producer.start();
        report.event("ready", Map.of());
        boolean isAsync = options.text("mode").equals("async");
        Semaphore inFlight = new Semaphore(IN_FLIGHT_MAX);
        while (replied() < options.number("count") && faults() == 0) {
            for (int seq = next(0); seq < options.number("count"); seq = next(seq + 1)) {
                if (isAsync) {
                    inFlight.acquire();
                    requestAsync(producer, seq, inFlight);
                } else {
                    requestSync(producer, seq);
                }
            }
            inFlight.acquire(IN_FLIGHT_MAX);
            inFlight.release(IN_FLIGHT_MAX);
        }
        producer.shutdown();
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("replied", replied());
        result.put("timeouts", timeouts);
        result.put("faults", faults);
        report.event("result", result);
        return faults.isEmpty();
    }

    private void requestSync(DefaultMQProducer producer, int seq) throws Exception {
        try {
            take(seq, producer.request(Sample.of(options, seq), options.number("timeout-ms")));
        } catch (RequestTimeoutException late) {
            late();
        }
    }

    private void requestAsync(DefaultMQProducer producer, int seq, Semaphore inFlight) throws Exception {
        producer.request(Sample.of(options, seq), new RequestCallback() {
            @Override
            public void onSuccess(Message reply) {
                take(seq, reply);
                inFlight.release();
            }

            @Override
            public void onException(Throwable failure) {
                if (failure instanceof RequestTimeoutException) {
                    late();
                } else {
                    fault(String.valueOf(failure));
                }
                inFlight.release();
            }
        }, options.number("timeout-ms"));
    }

    private synchronized void take(int seq, Message reply) {
        if (!Arrays.equals(reply.getBody(), Body.of(Replying.run(options), seq, options.flag("binary")))) {
            fault("the reply to " + seq + " is another one");
        }
        replied.set(seq);
        if (replied.cardinality() % PROGRESS_EVERY == 0) {
            report.event("progress", Map.of("replied", replied.cardinality()));
        }
    }

    private synchronized int next(int from) {
        return replied.nextClearBit(from);
    }

    private synchronized int replied() {
        return replied.cardinality();
    }

    private synchronized int faults() {
        return faults.size();
    }

    private synchronized void late() {
        timeouts++;
        report.event("late", Map.of("timeouts", timeouts));
    }

    private synchronized void fault(String what) {
        faults.add(what);
    }
}
