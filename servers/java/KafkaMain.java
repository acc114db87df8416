import java.io.FileInputStream;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;

/** One broker: KafkaMain server.properties CLUSTER_ID. Formats its folder first, in this JVM, when it is new. */
final class KafkaMain {
    private KafkaMain() {}

    public static void main(String[] args) throws Exception {
        ParentWatch.begin();
        Properties properties = new Properties();
        try (InputStream file = new FileInputStream(args[0])) {
            properties.load(file);
        }
        // A second JVM for the storage tool would cost 1.7 s.
        if (!Files.exists(Path.of(properties.getProperty("log.dirs"), "meta.properties"))) {
            int failed = kafka.tools.StorageTool.execute(
                    new String[] {"format", "--cluster-id", args[1], "--config", args[0]}, System.out);
            if (failed != 0) {
                System.exit(failed);
            }
        }
        kafka.Kafka.main(new String[] {args[0]});
    }
}
