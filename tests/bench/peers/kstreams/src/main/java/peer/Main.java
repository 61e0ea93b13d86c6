package peer;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.atomic.LongAdder;
import java.util.zip.CRC32;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** The job in Kafka Streams. Arguments: at_least_once|exactly_once_v2 cache|nocache [COMMIT_MS LINGER_MS]. -Dthreads=N */
public class Main {
  static final int ORDER_QUANTITY = 90;
  static final ObjectMapper JSON = new ObjectMapper();
  static final LongAdder lines = new LongAdder();

  @JsonIgnoreProperties(ignoreUnknown = true)
  record Line(
      @JsonProperty(required = true) String line_id,
      @JsonProperty(required = true) String sku,
      @JsonProperty(required = true) String location,
      @JsonProperty(required = true) int quantity,
      double unit_price) {}

  @JsonIgnoreProperties(ignoreUnknown = true)
  record Order(
      @JsonProperty(required = true) String event_id,
      @JsonProperty(required = true) String type,
      @JsonProperty(required = true) String occurred_at,
      @JsonProperty(required = true) String order_id,
      String customer_id,
      @JsonProperty(required = true) List<Line> lines) {}

  record Sale(String sku, String location, int quantity, String occurred_at) {}

  record Stock(int on_hand, int units_today, String day, String last_event) {}

  record Alert(String key, int on_hand, int reorder_point, String occurred_at) {}

  record Replenishment(String key, int quantity, String occurred_at) {}

  static <T> Serde<T> json(Class<T> type) {
    var reader = JSON.readerFor(type);
    var writer = JSON.writerFor(type);
    return Serdes.serdeFrom(
        (topic, value) -> {
          try {
            return value == null ? null : writer.writeValueAsBytes(value);
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        },
        (topic, bytes) -> {
          try {
            return bytes == null ? null : reader.readValue(bytes);
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  static class Track implements Processor<String, Sale, String, Alert> {
    private ProcessorContext<String, Alert> context;
    private KeyValueStore<String, Stock> store;

    @Override
    public void init(ProcessorContext<String, Alert> context) {
      this.context = context;
      store = context.getStateStore("stock");
    }

    @Override
    public void process(Record<String, Sale> record) {
      Sale sale = record.value();
      String key = sale.sku + "@" + sale.location, day = sale.occurred_at.substring(0, 10);
      CRC32 crc = new CRC32();
      crc.update(key.getBytes(StandardCharsets.UTF_8));
      long h = crc.getValue();
      int point = (int) (20 + h % 30), initial = (int) (point + 1 + (h >> 8) % ORDER_QUANTITY);
      Stock old = store.get(key);
      if (old == null) old = new Stock(initial, 0, day, "");
      int onHand = old.on_hand - sale.quantity;
      int today = (old.day.equals(day) ? old.units_today : 0) + sale.quantity;
      if (onHand < point) {
        Alert alert = new Alert(key, onHand, point, sale.occurred_at);
        context.forward(new Record<>(key, alert, record.timestamp()));
        onHand += ORDER_QUANTITY;
      }
      store.put(key, new Stock(onHand, today, day, sale.occurred_at));
      lines.increment();
    }
  }

  static Properties properties(String[] args) {
    Properties p = new Properties();
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("PEER_BROKERS"));
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("PEER_NAME"));
    p.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("PEER_STATE_DIR"));
    p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, args[0]);
    p.put("auto.offset.reset", "earliest");
    p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Integer.getInteger("threads", 1));
    if (args.length > 2) p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, args[2]);
    if (args.length > 3) p.put(StreamsConfig.producerPrefix("linger.ms"), args[3]);
    if (args[1].equals("cache")) p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 100L << 20);
    return p;
  }

  static void topology(StreamsBuilder builder, boolean cache) {
    String name = System.getenv("PEER_NAME");
    var stock =
        Stores.keyValueStoreBuilder(
            Stores.persistentKeyValueStore("stock"), Serdes.String(), json(Stock.class));
    builder.addStateStore(cache ? stock.withCachingEnabled() : stock);
    var alerts =
        builder.stream(System.getenv("PEER_ORDERS"), Consumed.with(Serdes.String(), json(Order.class)))
            .flatMap(
                (id, order) -> {
                  List<KeyValue<String, Sale>> out = new ArrayList<>(order.lines.size());
                  for (Line l : order.lines)
                    out.add(
                        KeyValue.pair(
                            l.sku, new Sale(l.sku, l.location, l.quantity, order.occurred_at)));
                  return out;
                })
            .repartition(
                Repartitioned.with(Serdes.String(), json(Sale.class))
                    .withName("sales")
                    .withNumberOfPartitions(4))
            .process(Track::new, "stock");
    alerts.to(name + "-alerts", Produced.with(Serdes.String(), json(Alert.class)));
    alerts
        .mapValues(a -> new Replenishment(a.key, ORDER_QUANTITY, a.occurred_at))
        .to(name + "-replenishments", Produced.with(Serdes.String(), json(Replenishment.class)));
  }

  public static void main(String[] args) throws Exception {
    Properties p = properties(args);
    StreamsBuilder builder = new StreamsBuilder();
    topology(builder, args[1].equals("cache"));
    KafkaStreams streams = new KafkaStreams(builder.build(p), p);
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
    for (long last = -1; ; Thread.sleep(100)) {
      long n = lines.sum();
      if (n == last) continue;
      System.out.printf(Locale.ROOT, "N %.3f %d%n", System.currentTimeMillis() / 1000.0, n);
      last = n;
    }
  }
}
