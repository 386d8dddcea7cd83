package shmq.interop;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * One RocketMQ client in a process of its own, told what to do by its arguments and by lines on stdin.
 *
 * <p>It prints one JSON object a line: events while it works, then {@code {"event": "result", ...}}. The exit code
 * is 0 where nothing it saw was wrong, 1 where a check of its own failed, 2 where it could not work at all.
 */
public final class Driver {
    private Driver() {
    }

    public static void main(String[] arguments) {
        Report report = new Report(new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8));
        System.setOut(System.err); // what the client library prints is no event
        int exitCode;
        try {
            Options options = Options.parse(arguments);
            // The library reads it when its classes are loaded. Of its 20 s a test would wait out many.
            System.setProperty("rocketmq.client.rebalance.waitInterval", options.text("rebalance-ms", "2000"));
            exitCode = run(options, report) ? 0 : 1;
        } catch (Exception | LinkageError failure) {
            failure.printStackTrace();
            report.event("error", Map.of("message", String.valueOf(failure)));
            exitCode = 2;
        }
        System.err.flush();
        System.exit(exitCode); // the client's threads are no daemons
    }

    private static boolean run(Options options, Report report) throws Exception {
        switch (options.command()) {
            case "produce":
                return new Producing(options, report).run();
            case "produce-timed":
                return new TimedProducing(options, report).run();
            case "consume-push":
                return new PushConsuming(options, report).run();
            case "consume-lite-pull":
                return new LitePulling(options, report).run();
            case "request":
                return new Requesting(options, report).run();
            case "reply":
                return new Replying(options, report).run();
            case "queue-bounds":
                return new QueueBounds(options, report).run();
            case "transact":
                return new Transacting(options, report).run();
            case "query":
                return new Querying(options, report).run();
            default:
                throw new IllegalArgumentException("unknown command " + options.command());
        }
    }
}
