package shmq.interop;

import org.apache.rocketmq.client.consumer.MessageSelector;

/** Which messages a consumer wants: {@code --sql} by their properties, or {@code --expression} by their tags. */
final class Selection {
    private Selection() {
    }

    static MessageSelector of(Options options) {
        String sql = options.text("sql", "");
        return sql.isEmpty() ? MessageSelector.byTag(options.text("expression", "*")) : MessageSelector.bySql(sql);
    }
}
