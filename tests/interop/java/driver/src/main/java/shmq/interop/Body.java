package shmq.interop;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32;

/**
 * The body of message {@code seq} of a run: whoever knows both can make it again and compare every byte.
 *
 * <p>{@code RUN:SEQ:} and a filler of CRC-32 values, so that no two bodies share more than a few bytes. One in 500
 * is longer than 4096 bytes, where clients begin to compress. A binary filler holds every byte value, NUL included;
 * a text filler is the same in hex, for a client that takes bodies for C strings. The Python twin of this class is
 * {@code tests/support/body.py}.
 */
final class Body {
    private static final int LONG_EVERY = 500;
    private static final int LONG_FILLER_BYTES = 6000;

    private Body() {
    }

    static byte[] of(String run, int seq, boolean binary) {
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        body.writeBytes(String.format("%s:%08d:", run, seq).getBytes(StandardCharsets.US_ASCII));
        int fillerBytes = seq % LONG_EVERY == LONG_EVERY - 1 ? LONG_FILLER_BYTES : 16 + seq * 37 % 480;
        for (int block = 0; fillerBytes > 0; block++) {
            byte[] filler = block(run, seq, block, binary);
            int taken = Math.min(filler.length, fillerBytes);
            body.write(filler, 0, taken);
            fillerBytes -= taken;
        }
        return body.toByteArray();
    }

    /** The run and number a body says it has, or null where it is none of ours. */
    static String[] head(byte[] body) {
        String[] parts = new String(body, StandardCharsets.ISO_8859_1).split(":", 3);
        return parts.length == 3 && parts[1].matches("[0-9]{8}") ? parts : null;
    }

    private static byte[] block(String run, int seq, int block, boolean binary) {
        CRC32 crc = new CRC32();
        crc.update(String.format("%s:%d:%d", run, seq, block).getBytes(StandardCharsets.US_ASCII));
        int value = (int) crc.getValue();
        if (!binary) {
            return String.format("%08x", value).getBytes(StandardCharsets.US_ASCII);
        }
        return new byte[] {(byte) (value >>> 24), (byte) (value >>> 16), (byte) (value >>> 8), (byte) value};
    }
}
