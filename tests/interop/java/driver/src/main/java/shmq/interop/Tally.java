package shmq.interop;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.BitSet;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * What a consumer has received of one run: each body compared byte for byte, each number counted.
 *
 * <p>Messages of other runs in the same topic are counted as foreign, no more: a test may warm a topic up.
 */
final class Tally {
    private static final int FAULTS_KEPT = 20;

    private final Options options;
    private final String run;
    private final String topic;
    private final boolean binary;
    private final int shards;
    private final BitSet seen = new BitSet();
    private final Map<String, BitSet> offsetsOfQueue = new TreeMap<>();
    private final Map<String, Integer> lastOfShard = new HashMap<>();
    private final List<Integer> doubled = new ArrayList<>();
    private final List<String> faults = new ArrayList<>();
    private int received;
    private int foreign;
    private int faultCount;
    private int inversions;

    Tally(Options options) {
        this.options = options;
        run = options.text("run");
        topic = options.text("topic");
        binary = options.flag("binary");
        shards = options.number("shards", 0);
    }

    /** Count one delivery. */
    synchronized void accept(MessageExt message) {
        String[] head = Body.head(message.getBody());
        if (head == null) {
            fault("a body that is none of ours: " + message);
            return;
        }
        if (message.getReconsumeTimes() == 0) { // a retry has its place in the retry topic
            String queue = message.getBrokerName() + ":" + message.getQueueId();
            offsetsOfQueue.computeIfAbsent(queue, name -> new BitSet()).set((int) message.getQueueOffset());
        }
        if (!head[0].equals(run)) {
            foreign++;
            return;
        }
        int seq = Integer.parseInt(head[1]);
        compare(message, seq);
        received++;
        if (seen.get(seq)) {
            doubled.add(seq);
        }
        seen.set(seq);
        order(message, seq);
    }

    synchronized int received() {
        return received;
    }

    /** True where everything received was as it was sent, in the order promised. */
    synchronized boolean isClean() {
        return faultCount == 0 && inversions == 0;
    }

    synchronized Map<String, Object> progress() {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("received", received);
        fields.put("distinct", seen.cardinality());
        fields.put("seen", Base64.getEncoder().encodeToString(seen.toByteArray()));
        return fields;
    }

    synchronized Map<String, Object> result() {
        Map<String, Object> fields = progress();
        fields.put("doubled", doubled);
        fields.put("foreign", foreign);
        fields.put("fault_count", faultCount);
        fields.put("faults", faults);
        fields.put("inversions", inversions);
        Map<String, Object> queues = new TreeMap<>();
        offsetsOfQueue.forEach((queue, offsets) -> queues.put(queue, Map.of(
            "first", offsets.nextSetBit(0), "last", offsets.length() - 1, "distinct", offsets.cardinality())));
        fields.put("queues", queues);
        return fields;
    }

    private void compare(MessageExt message, int seq) {
        if (!Arrays.equals(message.getBody(), Body.of(run, seq, binary))) {
            fault("the body of " + seq + " differs");
        }
        expect(seq, "topic", topic, message.getTopic());
        expect(seq, "keys", Sample.keys(options, seq), message.getKeys());
        expect(seq, "tags", Sample.tag(seq), message.getTags());
        expect(seq, "property", Sample.property(seq), message.getUserProperty(Sample.PROPERTY));
    }

    private void order(MessageExt message, int seq) {
        if (shards == 0) {
            return;
        }
        Integer before = lastOfShard.put(message.getBrokerName() + ":" + seq % shards, seq);
        if (before != null && before >= seq) {
            inversions++;
        }
    }

    private void expect(int seq, String what, String wanted, String got) {
        if (!wanted.equals(got)) {
            fault(what + " of " + seq + " is " + got + ", not " + wanted);
        }
    }

    private void fault(String what) {
        faultCount++;
        if (faults.size() < FAULTS_KEPT) {
            faults.add(what);
        }
    }
}
