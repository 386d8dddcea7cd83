package shmq.interop;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Tells the parent, until it says stop, which queues a consumer holds and how much it has received: soon after a
 * change, and now and then where nothing changes, so that a parent of several consumers never waits long for one.
 */
final class Watching {
    private static final long INTERVAL_MS = 50;
    private static final int QUIET_INTERVALS_MAX = 10;

    private final Report report;
    private final Tally tally;
    private final Callable<Collection<MessageQueue>> assignment;
    private List<String> assigned = List.of();
    private int received = -1;
    private int quietIntervals;

    Watching(Report report, Tally tally, Callable<Collection<MessageQueue>> assignment) {
        this.report = report;
        this.tally = tally;
        this.assignment = assignment;
    }

    void untilStopped(Commands commands) throws Exception {
        while (!commands.awaitStop(INTERVAL_MS)) {
            report();
        }
        report();
    }

    private void report() throws Exception {
        List<String> queues = assignment.call().stream()
            .map(queue -> queue.getBrokerName() + ":" + queue.getQueueId()).sorted().collect(Collectors.toList());
        if (!queues.equals(assigned)) {
            assigned = queues;
            report.event("assigned", Map.of("queues", queues));
        }
        if (tally.received() != received || ++quietIntervals > QUIET_INTERVALS_MAX) {
            quietIntervals = 0;
            Map<String, Object> progress = tally.progress();
            received = (Integer) progress.get("received");
            report.event("progress", progress);
        }
    }
}
