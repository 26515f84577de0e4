//! The demo shop, whole: load → web → {catalog → Redis, cart, payments}, and a recommendations service
//! that is down.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{Target, mortal::mortal, paths};

/// Fields are dropped, and so stopped, in this order: from the front to the back.
#[derive(Debug)]
pub struct Shop {
    pub web: Target,
    pub cart: Target,
    pub payments: Target,
    pub catalog: Target,
    redis: Redis,
    url: String,
    recommendations: SocketAddr,
}

/// A server without a disk.
#[derive(Debug)]
struct Redis {
    child: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Shop {
    #[track_caller]
    pub fn open() -> Self {
        let [redis, catalog, cart, payments, web, recommendations] = free_addresses();
        let redis = Redis::start(redis);
        let redis_address = redis.address.to_string();
        let catalog_args = ["--listen", &catalog.to_string(), "--redis", &redis_address];
        let cart_args = [OsStr::new("--listen"), OsStr::new(&cart.to_string())].map(OsStr::to_owned);
        let cart_script = paths::script("python/shop-cart.py");
        let web_args = [
            ("--listen", web.to_string()),
            ("--catalog", format!("http://{catalog}")),
            ("--cart", format!("http://{cart}")),
            ("--payments", format!("http://{payments}")),
            ("--recommendations", format!("http://{recommendations}")),
        ];
        Self {
            catalog: Target::spawn(paths::built("shop-catalog"), catalog_args),
            cart: Target::spawn("python3", [cart_script.into_os_string()].into_iter().chain(cart_args)),
            payments: Target::spawn(paths::built("shop-payments"), ["--listen", &payments.to_string()]),
            web: Target::spawn(
                paths::built("shop-web"),
                web_args.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]),
            ),
            redis,
            url: format!("http://{web}"),
            recommendations,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn redis_pid(&self) -> u32 {
        self.redis.child.id()
    }

    /// Where nobody listens: each tenth page tries to connect there.
    pub fn recommendations(&self) -> SocketAddr {
        self.recommendations
    }

    /// Starts a load; its last line on stdout is the sum.
    #[track_caller]
    pub fn load(&self, requests_per_second: u32, seconds: u32) -> Target {
        let rate = requests_per_second.to_string();
        let length = format!("{seconds}s");
        Target::spawn(paths::built("shop-load"), ["-url", &self.url, "-rps", &rate, "-for", &length])
    }
}

impl Redis {
    #[track_caller]
    fn start(address: SocketAddr) -> Self {
        let dir = tempfile::tempdir().expect("there is a folder for temporary files");
        let mut command = Command::new("redis-server");
        command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(AsRef::<Path>::as_ref(&dir));
        let child = mortal(&command)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start redis-server: {error}"));
        Self { child, address, _dir: dir }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// All at once, so that they differ.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port")
    });
    listeners.map(|it| it.local_addr().expect("a bound socket has an address"))
}
