import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONArray;
import com.alibaba.fastjson2.JSONObject;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.EvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;

/** What RocketMQ's filter module makes of expressions; tools/capture_sql_golden.py runs it. */
public final class SqlTruth {
    public static void main(String[] arguments) throws Exception {
        JSONObject asked = JSON.parseObject(System.in.readAllBytes());
        JSONArray messages = asked.getJSONArray("messages");
        JSONArray answers = new JSONArray();
        for (Object expression : asked.getJSONArray("expressions")) {
            answers.add(answer((String) expression, messages));
        }
        System.out.write(JSON.toJSONString(answers).getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    /** Null for a refused expression, else a letter for each message: True, False, unknown (N), error (X). */
    private static String answer(String text, JSONArray messages) {
        Expression expression;
        try {
            expression = FilterFactory.INSTANCE.get("SQL92").compile(text);
        } catch (Throwable error) {
            return null;
        }
        StringBuilder letters = new StringBuilder();
        for (int i = 0; i < messages.size(); i++) {
            letters.append(evaluate(expression, messages.getJSONObject(i)));
        }
        return letters.toString();
    }

    private static char evaluate(Expression expression, JSONObject properties) {
        try {
            Object found = expression.evaluate(new EvaluationContext() {
                @Override
                public Object get(String name) {
                    return properties.get(name);
                }

                @Override
                public Map<String, Object> keyValues() {
                    return new HashMap<>(properties);
                }
            });
            return found == null ? 'N' : Boolean.TRUE.equals(found) ? 'T' : 'F';
        } catch (Throwable error) {
            return 'X';
        }
    }
}
