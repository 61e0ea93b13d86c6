"""Every setting, in one place: RESTOCK_* variables over a TOML file over defaults.

`load()` gives one frozen `Settings`, or raises SetupError naming the variable and what to do. The reference in
`docs/settings.md` is generated from the fields below:

    python -m agents.settings --write     # write docs/settings.md
    python -m agents.settings --check     # exit 1 where it is stale
"""

from __future__ import annotations

import difflib
import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import AwareDatetime, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stream import kafka_address
from stream.errors import SetupError

PREFIX = "RESTOCK_"
CONFIG_VARIABLE = "RESTOCK_CONFIG"
NOT_SETTINGS = ("RESTOCK_CONFIG", "RESTOCK_CACHE", "RESTOCK_DATA", "RESTOCK_SOAK_", "RESTOCK_TEST_")  # by prefix

CONNECTIONS, TOPICS, TIME, PACE, STOCK, NETWORK, REFIT, ALERTS, DEFAULTS, WORKER = (
    "Connections",
    "Topics",
    "Time",
    "Pace and bounds",
    "Stock memory and replenishments",
    "Transfers between locations",
    "Slow lane",
    "Alerts",
    "What a SKU gets that nobody described",
    "The worker as a process",
)


def _setting(group: str, default: Any, meaning: str, unit: str = "", **bounds: Any) -> Any:
    return Field(default=default, description=meaning, json_schema_extra={"group": group, "unit": unit}, **bounds)


class Settings(BaseSettings):
    """What the operator decides. Frozen: a worker keeps the settings it started with."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, validate_default=True
    )

    brokers: str = _setting(
        CONNECTIONS,
        "127.0.0.1:9092",
        "Kafka bootstrap servers, `host:port`, comma separated. With TLS or a user, a URL: "
        "`ssl://HOST:PORT,...?ca=/path/ca.pem`, `sasl_ssl://USER:PASSWORD@HOST:PORT,...?mechanism=SCRAM-SHA-512` "
        "(`PLAIN` where none is named, or `SCRAM-SHA-256`), `sasl_plaintext://...`. Options: `ca`, the authority where "
        "it is not a public one; `cert` and `key`, a client's own. An `@` in a password is written `%40`.",
        min_length=3,
    )
    redis_url: str = _setting(
        CONNECTIONS,
        "redis://127.0.0.1:6379/0",
        "Redis or Valkey that keeps the ledger: `redis://`, `rediss://` or `unix://`. Run it with `appendonly yes` and "
        "`maxmemory-policy noeviction`. The URL of any node of a Redis Cluster will do: whether it is one is asked of "
        "the server (`INFO cluster`), not set, as a wrong setting would show only some of the shelves; the other nodes "
        "are reached at the addresses they announce, with the same user, password and TLS. A private authority's "
        "certificate is named in the URL: `rediss://...?ssl_ca_certs=/path/ca.pem`.",
    )
    namespace: str = _setting(
        CONNECTIONS,
        "restock",
        "First part of every topic name (`restock.orders`), Redis key and consumer group. Two installations on the "
        "same broker or Redis need two.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$",
    )
    transactions: Literal["auto", "on", "off"] = _setting(
        CONNECTIONS,
        "auto",
        "Whether outgoing messages are sent in Kafka transactions. `auto` asks the broker; `on` refuses to start "
        "without them; `off` means delivery at least once with the same `ce_id`.",
    )
    redis_timeout_ms: int = _setting(
        CONNECTIONS,
        5_000,
        "How long one call to Redis may take before it counts as away. A keep of 8,192 rows takes about 60 ms.",
        "ms",
        ge=100,
        le=60_000,
    )

    shelves: int = _setting(
        TOPICS,
        4,
        "Partitions of `sku-events` and of every outgoing topic; the most workers that can share the planning. Fixed "
        "once the ledger has begun.",
        "partitions",
        ge=1,
        le=1_024,
    )
    source_partitions: int = _setting(
        TOPICS,
        4,
        "Partitions of `orders`, `carts`, `stock-movements` and `supply`. Fixed once the ledger has begun.",
        "partitions",
        ge=1,
        le=1_024,
    )
    fact_partitions: int = _setting(
        TOPICS,
        1,
        "Partitions of `catalog` and `calendar`. One keeps facts in the order they were told.",
        "partitions",
        ge=1,
        le=64,
    )
    replication_factor: int = _setting(
        TOPICS,
        1,
        "Copies of each partition that `restock topics create` asks for. 3 in production; 1 on a laptop.",
        "copies",
        ge=1,
        le=9,
    )

    clock: Literal["wall", "event"] = _setting(
        TIME,
        "wall",
        "`wall`: where intake has read a partition to its end and nothing comes, time follows the wall clock. `event`: "
        "only events move time, as a replay needs.",
    )
    lateness_ms: int = _setting(
        TIME,
        120_000,
        "How far events of one source partition may be out of order and still be learnt from. It holds every day open "
        "this long past midnight. Two minutes cover retries and skewed clocks of tills; stock moves at once anyway.",
        "ms",
        ge=0,
        le=86_400_000,
    )
    max_ahead_ms: int = _setting(
        TIME,
        300_000,
        "An event further ahead of its own Kafka timestamp is quarantined: one wrong clock must not close tomorrow. "
        "Five minutes is what clock synchronisation usually forgives.",
        "ms",
        ge=0,
        le=86_400_000,
    )
    max_behind_days: int = _setting(
        TIME,
        30,
        "An event further behind its partition's mark is quarantined: a month covers a returned laptop and a late "
        "paper slip, and stops a re-sent archive.",
        "days",
        ge=1,
        le=3_650,
    )
    mark_interval_ms: int = _setting(
        TIME,
        1_000,
        "How often intake tells every shelf how far a quiet source partition is. Smaller: days close sooner, more "
        "small records.",
        "ms",
        ge=50,
        le=60_000,
    )
    publish_after: AwareDatetime | None = _setting(
        TIME,
        None,
        "Warm-up: events before this instant (RFC 3339) are learnt from and publish nothing; then open conditions are "
        "raised once. `restock replay --warm-until` sets it.",
    )

    max_record_bytes: int = _setting(
        PACE,
        1_048_576,
        "A larger source record is refused. Equal to Kafka's own `message.max.bytes` default; an order line "
        "takes about 100 B, so this is an order of 10,000 lines.",
        "bytes",
        ge=1_024,
        le=67_108_864,
    )
    fetch_wait_ms: int = _setting(
        PACE,
        50,
        "How long the broker may hold a fetch while nothing comes; it answers at once when something does, and gathers "
        "for 25 ms, or this where it is less, while records come. 20 idle requests a second and worker cost nothing.",
        "ms",
        ge=1,
        le=5_000,
    )
    poll_max_records: int = _setting(
        PACE,
        4_000,
        "Most records one poll hands to an agent. Per-record cost is flat from 2,000; more only delays the first.",
        "records",
        ge=1,
        le=100_000,
    )
    buffer_bytes: int = _setting(
        PACE,
        33_554_432,
        "Fetched bytes a worker holds before it stops fetching. 32 MiB are about 200,000 orders: seconds of work at "
        "full speed, and memory stays flat while Redis is away.",
        "bytes",
        ge=1_048_576,
        le=1_073_741_824,
    )
    forecasts: Literal["changed", "daily", "off"] = _setting(
        PACE,
        "changed",
        "When the forecast of a SKU-location that has had demand is published, about 600 B each: as its day closes "
        "where its mean, reorder point or order-up-to level has moved to another tenth, and once a week; or every day; "
        "or never.",
    )
    positions_interval_ms: int = _setting(
        PACE,
        1_000,
        "A row's position is published at most once in this much event time; 0: never.",
        "ms",
        ge=0,
        le=86_400_000,
    )
    close_spread_seconds: int | None = _setting(
        PACE,
        None,
        "How long past its end (and `RESTOCK_LATENESS_MS`) the last SKUs close a day: each closes at its own second of "
        "these, so that a midnight holds up no event. Not set: 50 by the wall clock; by the event clock 0, all at "
        "once. If it is set there, only a tick past these seconds ends a day's close, and with it lets plans be made.",
        "s",
        ge=0,
        le=600,
    )
    readable_interval_ms: int = _setting(
        PACE,
        1_000,
        "How often the readable hashes in Redis are refreshed while events flow; at every quiet moment they are "
        "current. One refresh writes up to 1,000 rows in about 30 ms.",
        "ms",
        ge=50,
        le=600_000,
    )

    journal_rows: int = _setting(
        STOCK,
        500_000,
        "Most movements a shelf remembers to place a late count or cancellation; the oldest go first. About 50 B each: "
        "25 MB a shelf.",
        "rows",
        ge=1_000,
        le=100_000_000,
    )
    journal_days: int = _setting(
        STOCK,
        35,
        "How long movements are remembered. An older count is refused as `count_too_old`; five weeks cover a "
        "stock-take keyed in at the end of the month.",
        "days",
        ge=1,
        le=366,
    )
    cart_silence_minutes: int = _setting(
        STOCK,
        60,
        "A cart silent this long in event time counts as abandoned.",
        "minutes",
        ge=1,
        le=43_200,
    )
    carts_max: int = _setting(
        STOCK,
        100_000,
        "Most open carts a shelf keeps; the longest silent goes first. About 200 B each: 20 MB a shelf.",
        "carts",
        ge=1_000,
        le=100_000_000,
    )
    proposal_expiry_hours: int = _setting(
        STOCK,
        72,
        "A proposal nobody ordered expires after this; the need is then proposed anew. Three days cover a weekend.",
        "hours",
        ge=1,
        le=8_760,
    )
    proposal_grace_hours: int = _setting(
        STOCK,
        24,
        "A low-stock alert stays `info` while its replenishment is younger than this: a buyer has a working day.",
        "hours",
        ge=0,
        le=8_760,
    )
    transfer_expiry_hours: int = _setting(
        STOCK,
        48,
        "A proposed or approved transfer that is not shipped expires after this, and no longer counts. Two days cover "
        "a weekend without a truck.",
        "hours",
        ge=1,
        le=8_760,
    )
    currency: str = _setting(
        STOCK,
        "EUR",
        "The installation's one currency (ISO 4217); every price and cost is in it.",
        pattern=r"^[A-Z]{3}$",
    )

    rebalance_minutes: int = _setting(
        NETWORK,
        0,
        "How often transfers between locations are planned; 0: only when `restock rebalance now` asks. Once a day "
        "(1,440) before the trucks are loaded is usual.",
        "minutes",
        ge=0,
        le=525_600,
    )
    rebalance_periods: int = _setting(
        NETWORK,
        1,
        "Into how many equal periods the longest lead time plus review is cut. Transfers of the first are proposed; "
        "those of later ones are a plan to share (`restock transfers --status planned`), made again each time. Lane "
        "limits then hold a period. A solve grows with it.",
        ge=1,
        le=52,
    )
    rebalance_budget: float | None = _setting(
        NETWORK,
        None,
        "Most money a plan may spend on lanes, with what open transfers will cost; not set: no limit.",
        "money",
        ge=0,
        le=1e12,
    )
    rebalance_seconds: int = _setting(
        NETWORK,
        300,
        "Longest a solve may take before it is stopped and the last plan stands. It stops searching at four fifths of "
        "it with the best it has. 20 locations and 5,000 SKUs with limited lanes take about two minutes.",
        "s",
        ge=1,
        le=86_400,
    )
    rebalance_memory_mb: int = _setting(
        NETWORK,
        4_096,
        "Most memory a solve may take before it is stopped and the last plan stands.",
        "MB",
        ge=256,
        le=1_048_576,
    )

    refit_minutes: int = _setting(
        REFIT,
        0,
        "How often heavier models (ARIMA, exponential smoothing, with the extra `trees` LightGBM) are fitted beside "
        "event path and join as guests of the forecast; 0: only when `restock refit now` asks. Once a day (1,440) is "
        "usual: a guest's word fades over 28 days.",
        "minutes",
        ge=0,
        le=525_600,
    )
    refit_cpu_seconds: float = _setting(
        REFIT,
        300.0,
        "CPU time a run may spend, all its processes together; rows with most money at stake come first. A row's fit "
        "takes 0.3 to 1 s, trees of all rows up to half of it.",
        "s",
        gt=0,
        le=86_400,
    )
    refit_seconds: int = _setting(
        REFIT,
        3_600,
        "Longest a run may take before it is stopped and nothing of it is told. It runs on what others leave idle, so "
        "it may take much longer than its CPU time.",
        "s",
        ge=1,
        le=86_400,
    )
    refit_processes: int = _setting(
        REFIT, 1, "Processes that fit rows at the same time; each takes some 4 s to begin.", ge=1, le=256
    )
    refit_memory_mb: int = _setting(
        REFIT,
        4_096,
        "Most memory each process of a run may take before the run is stopped.",
        "MB",
        ge=256,
        le=1_048_576,
    )

    stockout_chance_limit: float = _setting(
        ALERTS,
        0.2,
        "Chance to run out before the next confirmed receipt at which `stockout_imminent` is raised.",
        "share",
        gt=0,
        lt=1,
    )
    overstock_cover_days: float = _setting(
        ALERTS,
        60.0,
        "Days of cover above which `overstock` is raised, unless the order-up-to level itself is higher.",
        "days",
        gt=0,
        le=3_650,
    )
    hysteresis_share: float = _setting(
        ALERTS,
        0.05,
        "How far past its limit a condition must recover before its alert resolves, as a share of the limit and at "
        "least one unit: stock that hovers at the reorder point does not ring every hour.",
        "share",
        ge=0,
        lt=1,
    )
    count_tolerance_share: float = _setting(
        ALERTS,
        0.02,
        "How far a count may differ from the books before `discrepancy` is raised, as a share of the stock on hand and "
        "at least one unit.",
        "share",
        ge=0,
        lt=1,
    )

    cart_signals: bool = _setting(
        DEFAULTS,
        False,
        "Whether forecasts look at what was viewed, put into carts and removed on a day. Worth a try where carts run "
        "ahead of orders and lead times are a day or two: docs/models.md says what it brings and costs.",
    )
    lead_times: Literal["learnt", "stated"] = _setting(
        DEFAULTS,
        "learnt",
        "Lead times of suppliers: learnt from receipts where there are enough (drawn to what facts and defaults state, "
        "which holds until then), or always as stated.",
    )
    default_lead_days: float = _setting(DEFAULTS, 7.0, "Days from order to receipt.", "days", ge=0, le=366)
    default_lead_days_sd: float = _setting(DEFAULTS, 0.0, "Standard deviation of those days.", "days", ge=0, le=366)
    default_review_days: float = _setting(
        DEFAULTS, 1.0, "Days between two looks at the stock; part of the time to be covered.", "days", ge=0, le=366
    )
    service_levels: Literal["default", "segments"] = _setting(
        DEFAULTS,
        "default",
        "The service level of rows of which no fact says one: `RESTOCK_DEFAULT_SERVICE_LEVEL`, or 0.90 to 0.98 by "
        "segment (ABC by value and XYZ by variability of each shelf's rows, found once a week).",
    )
    default_service_level: float = _setting(
        DEFAULTS, 0.95, "Chance not to run out in one order cycle (cycle service level).", "share", gt=0, lt=1
    )
    default_pack_units: float = _setting(
        DEFAULTS, 1.0, "An order is a whole number of packs of this many units.", "units", gt=0, le=1_000_000
    )
    default_min_order_units: float = _setting(
        DEFAULTS, 0.0, "Smallest order the supplier takes.", "units", ge=0, le=1_000_000_000
    )
    default_order_cost: float = _setting(DEFAULTS, 0.0, "Fixed cost of one order.", "money", ge=0, le=1_000_000_000)
    default_holding_cost_rate_year: float = _setting(
        DEFAULTS, 0.25, "Cost of holding stock for a year, as a share of its unit cost.", "share/year", ge=0, le=10
    )
    default_cover_days: float = _setting(
        DEFAULTS,
        7.0,
        "An order lasts about this long where no order cost and unit cost say better.",
        "days",
        gt=0,
        le=366,
    )

    work: Literal["both", "intake", "planner"] = _setting(
        WORKER,
        "both",
        "What a worker does: read the source topics (intake), keep the shelves (planner), or both. A process of each "
        "uses two cores where one worker uses one. A namespace needs both kinds of work done.",
    )
    web_host: str = _setting(
        WORKER, "127.0.0.1", "Address of `/metrics`, `/live` and `/ready`. `0.0.0.0` in a container.", min_length=1
    )
    web_port: int = _setting(
        WORKER,
        8080,
        "Port of the same; 0 takes any free one (it is logged), so that two workers run on one host.",
        ge=0,
        le=65_535,
    )
    session_timeout_ms: int = _setting(
        WORKER,
        10_000,
        "A worker silent this long loses its partitions. The broker's `group.min.session.timeout.ms` (6 s unless "
        "changed) is the floor.",
        "ms",
        ge=1_000,
        le=600_000,
    )
    instance_id: str | None = _setting(
        WORKER,
        None,
        "Static membership: a name of its own for this worker, so that a restart within the session moves no "
        "partitions (a StatefulSet's pod name does).",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        WORKER, "info", "Least serious log line that is written."
    )
    log_format: Literal["text", "json"] = _setting(WORKER, "text", "`json`: one object a line, for log collectors.")
    trace_share: float = _setting(
        WORKER,
        0.0,
        "Share of events that are followed from intake to publishing by OpenTelemetry (the extra `otel`); at most one "
        "a poll. Spans go out by OTLP over HTTP, where `OTEL_EXPORTER_OTLP_ENDPOINT` says. 0: none, and nothing is "
        "wrapped.",
        ge=0,
        le=1,
    )
    state_dir: Path = _setting(
        WORKER,
        Path("~/.cache/restock"),
        "Where the embedded stack keeps its files and a worker its scratch data. Nothing in it is needed to recover.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings names them
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over variables over the TOML file."""
        return init_settings, env_settings, _TomlFile(settings_cls)

    @field_validator("brokers")
    @classmethod
    def _host_and_port(cls, brokers: str) -> str:
        line = ",".join(broker.strip() for broker in brokers.split(","))
        kafka_address.read(line)
        return line

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, url: str) -> str:
        if urlsplit(url).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("it must begin with redis://, rediss:// or unix://")
        return url

    @field_validator("state_dir")
    @classmethod
    def _home(cls, path: Path) -> Path:
        return path.expanduser()

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.proposal_grace_hours > self.proposal_expiry_hours:
            raise ValueError("proposal_grace_hours must not be above proposal_expiry_hours")
        return self

    @property
    def publish_after_ms(self) -> int | None:
        """The warm-up instant in ms since 1970 UTC."""
        return None if self.publish_after is None else round(self.publish_after.timestamp() * 1000)

    def changed(self, **values: Any) -> Settings:
        """The same settings with some of them replaced, checked as any. Raises SetupError."""
        return load(**{**self.model_dump(exclude_none=True), **values})

    def environment(self) -> dict[str, str]:
        """The environment that gives a child process exactly these settings, whatever variables and file we have."""
        said = self.model_dump(mode="json", exclude_none=True)
        rest = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
        return rest | {variable(name): str(value) for name, value in said.items()}

    @property
    def safe_brokers(self) -> str:
        """Where Kafka is, without its password, for logs and people."""
        return kafka_address.safe(self.brokers)

    @property
    def safe_redis_url(self) -> str:
        """The Redis address without its password, for logs and people."""
        parts = urlsplit(self.redis_url)
        if parts.password is None:
            return self.redis_url
        return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@", 1)))


class _TomlFile(PydanticBaseSettingsSource):
    """The file named by RESTOCK_CONFIG, if any; its keys are the field names."""

    def __call__(self) -> dict[str, Any]:
        name = os.environ.get(CONFIG_VARIABLE, "")
        if name == "":
            return {}
        try:
            return tomllib.loads(Path(name).expanduser().read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SetupError(
                "could not read the settings file",
                f"{CONFIG_VARIABLE}={name}: {error}",
                "correct the file or unset the variable; docs/settings.md shows an example",
            ) from error

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Unused: `__call__` gives all values at once."""
        return None, field_name, False


def load(**overrides: Any) -> Settings:
    """The settings of this process; `overrides` (command line) win. Raises SetupError naming each wrong variable."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SetupError(
            "settings are wrong",
            "; ".join(_complaint(e) for e in error.errors(include_url=False, include_context=False)),
            f"set the variable, or the same key in the file named by {CONFIG_VARIABLE}; docs/settings.md lists all",
        ) from error


def _complaint(error: Any) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Settings.model_fields, 1)
        return f"no such setting: {name}" + (f" (did you mean {near[0]}?)" if near else "")
    message = error["msg"].removeprefix("Value error, ")
    if name == "":
        return str(message)
    shown = "***" if name == "redis_url" else repr(kafka_address.safe(str(error["input"])))
    return f"{variable(name)}={shown}: {message}"


def variable(name: str) -> str:
    """The environment variable of a field.

    >>> variable("web_port")
    'RESTOCK_WEB_PORT'
    """
    return PREFIX + name.upper()


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """One sentence for each RESTOCK_* variable that no setting reads: most are typing errors.

    >>> unknown_variables({"RESTOCK_BROKER": "a:1", "RESTOCK_TEST_KAFKA": "b:1"})
    ['RESTOCK_BROKER is not a setting (did you mean RESTOCK_BROKERS?)']
    """
    known = [variable(name) for name in Settings.model_fields]
    found = []
    for name in sorted(os.environ if environ is None else environ):
        if not name.upper().startswith(PREFIX) or name.upper() in known or name.startswith(NOT_SETTINGS):
            continue
        near = difflib.get_close_matches(name.upper(), known, 1)
        found.append(f"{name} is not a setting" + (f" (did you mean {near[0]}?)" if near else ""))
    return found


if __name__ == "__main__":
    from agents.pages import main, settings_page

    sys.exit(main(sys.argv[1:], {"settings.md": settings_page}))
