package shmq.interop;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** What the parent says on stdin: {@code stop}. The end of stdin says the same, so no driver outlives its parent. */
final class Commands {
    private final CountDownLatch stopped = new CountDownLatch(1);

    static Commands listen() {
        Commands commands = new Commands();
        Thread reader = new Thread(commands::read, "commands");
        reader.setDaemon(true);
        reader.start();
        return commands;
    }

    boolean isStopped() {
        return stopped.getCount() == 0;
    }

    /** Wait for the stop, at most so long; true where it has come. */
    boolean awaitStop(long atMostMs) throws InterruptedException {
        return stopped.await(atMostMs, TimeUnit.MILLISECONDS);
    }

    private void read() {
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            String line = lines.readLine();
            while (line != null && !line.equals("stop")) {
                line = lines.readLine();
            }
        } catch (IOException failure) {
            failure.printStackTrace(); // a broken stdin ends like a closed one
        } finally {
            stopped.countDown();
        }
    }
}
