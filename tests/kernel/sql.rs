//! Statements of Go programs: each is seen once, whichever way it goes, with the request that it is for.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use agent::{
    decode::sql::StatementText,
    kernel::AttachedFile,
    targets::{golang::Side, plan::Plan},
};
use agent_common::{
    counter,
    event::{
        Event,
        http::{Call, joined_by},
        sql::kind,
    },
    layout::point,
    limits::STATEMENT_BYTES,
};
use rustix::process::Signal;
use tests::{Observer, Target, eventually, paths::built, require_bpf};

const PACKAGE: &str = "github.com/lib/pq";

/// A form: its path, and what each of its requests asks, in order. `#` is the request's id.
struct Form {
    name: &'static str,
    rule: u8,
    statements: &'static [(u8, &'static str)],
}

const fn form(name: &'static str, statements: &'static [(u8, &'static str)]) -> Form {
    Form { name, rule: joined_by::GOID, statements }
}

const QUERY: (u8, &str) = (kind::QUERY, "SELECT name FROM items_# WHERE card = 'hush-#'");
const EXEC: (u8, &str) = (kind::EXEC, "INSERT INTO orders_# (card) VALUES ('hush-#')");

const FORMS: &[Form] = &[
    form("query", &[QUERY]),
    form("exec", &[EXEC]),
    form(
        "tx",
        &[
            (kind::QUERY, "SELECT n FROM stock_# WHERE hush = 4711 FOR UPDATE"),
            (kind::EXEC, "UPDATE stock_# SET n = n - 4711"),
        ],
    ),
    form(
        "prepared",
        &[
            (kind::PREPARED, "SELECT name FROM prepared_# WHERE card = $1"),
            (kind::PREPARED, "SELECT name FROM prepared_# WHERE card = $1"),
        ],
    ),
    form(
        "skipped",
        &[
            (kind::QUERY, "SELECT name FROM skipped_# WHERE card = ?"),
            (kind::EXEC, "DELETE FROM skipped_# WHERE card = ?"),
        ],
    ),
    form("plain", &[(kind::QUERY, "SELECT name FROM plain_#"), (kind::EXEC, "DELETE FROM plain_#")]),
    form("nested", &[(kind::QUERY, "SELECT name FROM outer_#"), EXEC]),
    Form { name: "goroutine", rule: joined_by::PARENT_GOID, statements: &[QUERY] },
];

#[test]
fn each_statement_is_seen_once_with_its_request() {
    require_bpf!();
    for (name, n_requests) in [
        ("sql", 500),
        ("sql-stripped-pie", 100),
        ("sql-go1.21", 100),
        ("sql-go1.21-stripped", 100),
        ("sql-go1.27-stripped", 100),
    ] {
        let mut scene = Scene::open(name);
        let n_statements: usize = FORMS.iter().map(|it| scene.asks(it, n_requests)).sum();
        scene.assert_nothing_lost();
        println!("{name}: {n_statements} statements of {} forms, one span each, 0 wrong", FORMS.len());
    }
}

/// Which error it was is told by its type.
#[test]
fn each_way_to_fail_is_seen() {
    require_bpf!();
    let mut scene = Scene::open("sql-stripped");
    for (path, want) in [
        ("failed", &["*pq.Error"; 4][..]),
        ("unprepared", &["*pq.Error"]),
        ("canceled", &["context.deadlineExceededError"]),
        ("query", &["-"]),
    ] {
        assert_eq!(scene.get(&format!("/{path}/1")), if path == "query" { 200 } else { 418 }, "{path}");
        let statements = scene.statements(want.len());
        let types = &scene.plan.sql;
        let error = |it: &StatementText| match it.record.error_itab {
            0 => "-".to_owned(),
            itab => types.error(itab).map_or_else(|| format!("{itab:#x}"), |it| it.to_string()),
        };
        assert_eq!(statements.iter().map(error).collect::<Vec<_>>(), want, "{path}");
    }
    scene.assert_nothing_lost();
}

/// Whoever comes after a statement that never ended has nothing of it.
#[test]
fn a_driver_that_panics_leaves_no_span_and_harms_no_other() {
    require_bpf!();
    const N: usize = 20;
    let mut scene = Scene::open("sql");
    scene.load("panic", N);
    let statements = scene.statements(N);
    assert!(statements.iter().all(|it| it.text.starts_with(b"INSERT INTO orders_")));
    assert_eq!(scene.observer.counter(counter::SQL_NOT_ENDED), N as u64);
    assert_eq!(scene.observer.counter(counter::SQL_END_WITHOUT_BEGIN), 0);
}

#[test]
fn a_process_killed_in_mid_statement_leaves_none() {
    require_bpf!();
    let mut scene = Scene::open("sql");
    let mut stream = TcpStream::connect(scene.address).unwrap();
    stream.write_all(b"GET /slow/1 HTTP/1.1\r\nHost: sql\r\n\r\n").unwrap();
    let (observer, server) = (&scene.observer, scene.server.pid());
    eventually("the statement to begin", || (observer.hits(server)[point::SQL_QUERY] == 1).then_some(()));
    scene.server.signal(Signal::KILL);
    drop(scene.server);
    scene.observer.drain();
    assert_eq!(scene.observer.statements, []);

    // Another process of the file, with the probes that are there already.
    scene.server = Target::spawn(built("sql"), ["127.0.0.1:0"]);
    scene.address = scene.server.address();
    scene.plan = Observer::plan(scene.server.pid());
    scene.observer.watch(scene.server.pid(), scene.plan.process);
    scene.asks(&FORMS[0], 10);
    scene.assert_nothing_lost();
}

#[test]
fn any_text_is_copied_as_far_as_it_goes() {
    require_bpf!();
    let mut scene = Scene::open("sql-stripped");
    let long = [b"SELECT '".to_vec(), b"hush".repeat(2560)].concat();
    for text in [
        &long[..],
        b"",
        b"S",
        b"SELECT \xff\xfe'hush",
        b"/* never ends",
        b"SELECT $x$ hush $y$",
        &[0; 300],
        &long[..STATEMENT_BYTES],
        &long[..STATEMENT_BYTES + 1],
    ] {
        assert_eq!(scene.post("/text/1", text), 200);
        let statement = &scene.statements(1)[0];
        assert_eq!(&*statement.text, &text[..text.len().min(STATEMENT_BYTES)]);
        assert_eq!(statement.record.text_bytes as usize, text.len());
        assert_eq!(statement.is_cut(), STATEMENT_BYTES < text.len());
    }
    scene.assert_nothing_lost();
}

#[test]
fn a_process_that_is_not_watched_leaves_no_statement() {
    require_bpf!();
    let mut scene = Scene::open("sql");
    let other = Target::spawn(built("sql"), ["127.0.0.1:0"]);
    assert_eq!(request(other.address(), "GET", "/query/1", b""), 200);
    assert_eq!(scene.get("/query/2"), 200);
    let statements = scene.statements(1);
    assert_eq!(statements[0].record.header.tgid, scene.server.pid());
}

/// A watched server, and all that was seen of it.
struct Scene {
    observer: Observer,
    server: Target,
    address: SocketAddr,
    plan: Plan,
    /// Statements that a test has looked at.
    n_seen: usize,
    _file: AttachedFile,
}

impl Scene {
    #[track_caller]
    fn open(name: &str) -> Self {
        let server = Target::spawn(built(name), ["127.0.0.1:0"]);
        let address = server.address();
        let mut observer = Observer::load();
        let (file, plan) = observer.attach(server.pid());
        assert!(plan.binary.points.iter().any(|it| it.name.side() == Side::Sql), "{:?}", plan.binary.refused);
        observer.watch(server.pid(), plan.process);
        Self { observer, server, address, plan, n_seen: 0, _file: file }
    }

    /// Many requests of a form, and what must be seen of them; returns how many statements that is.
    #[track_caller]
    fn asks(&mut self, form: &Form, n_requests: usize) -> usize {
        self.load(form.name, n_requests);
        let n_statements = n_requests * form.statements.len();
        let statements = self.statements(n_statements);
        let mut by_text: BTreeMap<(&[u8], u8), Vec<&StatementText>> = BTreeMap::new();
        for it in &statements {
            by_text.entry((&it.text, it.record.kind)).or_default().push(it);
        }
        let served = self.served(form.name, n_requests);
        for id in 1..=n_requests {
            let request = &served[&format!("/{}/{id}", form.name)];
            for (kind, text) in form.statements {
                let text = text.replace('#', &id.to_string());
                let n_same =
                    form.statements.iter().filter(|it| text == it.1.replace('#', &id.to_string())).count();
                let seen = by_text.get(&(text.as_bytes(), *kind)).unwrap_or_else(|| panic!("no {text}"));
                assert_eq!(seen.len(), n_same, "{text}");
                seen.iter().for_each(|it| self.assert_is_of(it, request, form.rule));
            }
        }
        n_statements
    }

    #[track_caller]
    fn assert_is_of(&self, statement: &StatementText, request: &Call, rule: u8) {
        let (record, text) = (&statement.record, statement.text.escape_ascii().to_string());
        assert_eq!((record.joined_by, record.parent_span_id), (rule, request.span_id), "{text}");
        assert_eq!(record.trace_id, request.trace_id, "{text}");
        assert_eq!(record.error_itab, 0, "{text}");
        assert_eq!(record.text_bytes as usize, statement.text.len(), "{text}");
        assert!(request.began_ktime_ns <= record.began_ktime_ns, "{text}");
        assert!(record.began_ktime_ns <= record.header.ktime_ns, "{text}");
        assert!(record.header.ktime_ns <= request.header.ktime_ns, "{text}");
        assert_eq!(self.plan.sql.driver(record.driver_itab).map(|it| &**it), Some(PACKAGE), "{text}");
    }

    #[track_caller]
    fn load(&self, path: &str, n_requests: usize) {
        let url = format!("http://{}/{path}/", self.address);
        let n = n_requests.to_string();
        let mut client = Target::held(built("http"), ["client", "-quiet", "-url", &url, "-n", &n, "-c", "8"]);
        client.tell("go");
        assert_eq!(client.json()["errors"], 0);
    }

    /// The next ones, and there must not be more.
    #[track_caller]
    fn statements(&mut self, n: usize) -> Vec<StatementText> {
        let (observer, pid) = (&mut self.observer, self.server.pid());
        eventually(&format!("{n} statements"), || {
            observer.drain();
            (self.n_seen + n <= observer.statements.len()).then_some(())
        });
        let statements = observer.statements[self.n_seen..].to_vec();
        assert_eq!(statements.len(), n);
        assert!(statements.iter().all(|it| it.record.header.tgid == pid));
        self.n_seen += n;
        statements
    }

    /// The requests of a form, by path.
    #[track_caller]
    fn served(&mut self, form: &str, n: usize) -> BTreeMap<String, Call> {
        let prefix = format!("/{form}/");
        eventually("requests", || {
            self.observer.drain();
            let calls = self.observer.events.iter().filter_map(|event| match event {
                Event::Call(it) => {
                    let path = String::from_utf8_lossy(&it.path[..usize::from(it.path_len)]).into_owned();
                    path.starts_with(&prefix).then_some((path, *it))
                }
                _ => None,
            });
            let calls: BTreeMap<_, _> = calls.collect();
            (calls.len() == n).then_some(calls)
        })
    }

    #[track_caller]
    fn get(&self, path: &str) -> u16 {
        request(self.address, "GET", path, b"")
    }

    #[track_caller]
    fn post(&self, path: &str, body: &[u8]) -> u16 {
        request(self.address, "POST", path, body)
    }

    #[track_caller]
    fn assert_nothing_lost(&self) {
        for slot in [
            counter::SQL_RING_FULL,
            counter::SQL_END_WITHOUT_BEGIN,
            counter::SQL_NOT_KEPT,
            counter::SQL_NOT_ENDED,
            counter::USER_READ_FAILED,
        ] {
            assert_eq!(self.observer.counter(slot), 0, "{}", counter::TABLE[slot as usize].name);
        }
    }
}

/// The status of the answer.
#[track_caller]
fn request(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: sql\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
