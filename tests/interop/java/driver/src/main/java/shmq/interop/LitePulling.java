package shmq.interop;

import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

/** A lite-pull consumer until it is told to stop: by subscription, or with {@code --assign true} of all queues. */
final class LitePulling {
    private static final long POLL_MS = 200;

    private final Options options;
    private final Report report;
    private final Tally tally;

    LitePulling(Options options, Report report) {
        this.options = options;
        this.report = report;
        tally = new Tally(options);
    }

    boolean run() throws Exception {
        Commands commands = Commands.listen();
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(options.text("group"));
        consumer.setNamesrvAddr(options.text("namesrv"));
        consumer.setVipChannelEnabled(options.flag("vip"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(1000);
        consumer.setPullBatchSize(32);
        String topic = options.text("topic");
        if (options.flag("assign")) {
            consumer.start();
            consumer.assign(consumer.fetchMessageQueues(topic)); // a new group's begin at their first message
        } else {
            consumer.subscribe(topic, Selection.of(options));
            consumer.start();
        }
        report.event("ready", Map.of());
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Thread poller = new Thread(() -> poll(consumer, commands), "poller");
        poller.setUncaughtExceptionHandler((thread, thrown) -> failure.set(thrown));
        poller.start();
        new Watching(report, tally, consumer::assignment).untilStopped(commands);
        poller.join();
        consumer.commitSync(); // by itself it commits on polls, 5 s apart
        consumer.shutdown();
        if (failure.get() != null) {
            throw new IllegalStateException("polling failed", failure.get());
        }
        report.event("result", tally.result());
        return tally.isClean();
    }

    private void poll(DefaultLitePullConsumer consumer, Commands commands) {
        while (!commands.isStopped()) {
            List<MessageExt> messages = consumer.poll(POLL_MS);
            messages.forEach(tally::accept);
        }
    }
}
