package shmq.interop;

import org.apache.rocketmq.common.message.Message;

/** Message {@code seq} of a run: its body, and the keys, tag and property that go with the number. */
final class Sample {
    static final String PROPERTY = "number";

    private static final int TAGS = 5;

    private Sample() {
    }

    static Message of(Options options, int seq) {
        byte[] body = Body.of(options.text("run"), seq, options.flag("binary"));
        Message message = new Message(options.text("topic"), tag(seq), keys(seq), body);
        message.putUserProperty(PROPERTY, property(seq));
        return message;
    }

    static String tag(int seq) {
        return "t" + seq % TAGS;
    }

    static String keys(int seq) {
        return "k" + seq;
    }

    static String property(int seq) {
        return "n-" + seq;
    }
}
