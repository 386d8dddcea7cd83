package shmq.interop;

import org.apache.rocketmq.common.message.Message;

/**
 * Message {@code seq} of a run: its body, and the keys, tag and property that go with the number.
 *
 * <p>With {@code --numbered true} it has properties for expressions to look at: {@code seq}, its number, and
 * {@code color}, which every third has none of.
 *
 * <p>With {@code --shared-key K} there is a second key, {@code K-N}, where N is the number's last digit.
 */
final class Sample {
    static final String PROPERTY = "number";

    private static final int TAGS = 5;
    private static final int COLORS = 3;

    private Sample() {
    }

    static Message of(Options options, int seq) {
        byte[] body = Body.of(options.text("run"), seq, options.flag("binary"));
        Message message = new Message(options.text("topic"), tag(seq), keys(options, seq), body);
        message.putUserProperty(PROPERTY, property(seq));
        if (options.flag("numbered")) {
            message.putUserProperty("seq", Integer.toString(seq));
            if (seq % COLORS > 0) {
                message.putUserProperty("color", seq % COLORS == 1 ? "blue" : "red");
            }
        }
        return message;
    }

    static String tag(int seq) {
        return "t" + seq % TAGS;
    }

    static String keys(Options options, int seq) {
        String sharedKey = options.text("shared-key", "");
        return sharedKey.isEmpty() ? "k" + seq : "k" + seq + " " + sharedKey + "-" + seq % 10;
    }

    static String property(int seq) {
        return "n-" + seq;
    }
}
