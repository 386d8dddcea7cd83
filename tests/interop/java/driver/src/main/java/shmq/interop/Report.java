package shmq.interop;

import java.io.PrintStream;
import java.util.Collection;
import java.util.Map;

/** What the driver tells its parent: one JSON object a line. */
final class Report {
    private final PrintStream out;

    Report(PrintStream out) {
        this.out = out;
    }

    synchronized void event(String event, Map<String, ?> fields) {
        StringBuilder line = new StringBuilder("{\"event\":");
        write(line, event);
        for (Map.Entry<String, ?> field : fields.entrySet()) {
            line.append(',');
            write(line, field.getKey());
            line.append(':');
            write(line, field.getValue());
        }
        out.println(line.append('}'));
        out.flush();
    }

    private static void write(StringBuilder line, Object value) {
        if (value instanceof Map) {
            char before = '{';
            for (Map.Entry<?, ?> field : ((Map<?, ?>) value).entrySet()) {
                line.append(before);
                write(line, String.valueOf(field.getKey()));
                line.append(':');
                write(line, field.getValue());
                before = ',';
            }
            line.append(before == '{' ? "{}" : "}");
        } else if (value instanceof Collection) {
            char before = '[';
            for (Object item : (Collection<?>) value) {
                line.append(before);
                write(line, item);
                before = ',';
            }
            line.append(before == '[' ? "[]" : "]");
        } else if (value instanceof Number || value instanceof Boolean) {
            line.append(value);
        } else {
            writeText(line, String.valueOf(value));
        }
    }

    private static void writeText(StringBuilder line, String text) {
        line.append('"');
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                line.append('\\').append(c);
            } else if (c < ' ') {
                line.append(String.format("\\u%04x", (int) c));
            } else {
                line.append(c);
            }
        }
        line.append('"');
    }
}
