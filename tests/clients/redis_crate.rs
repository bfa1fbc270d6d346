//! The crate `redis`, standalone (`client-redis-crate standalone`) and in cluster mode (`… cluster`).
//!
//! Its connections do not tell that the server closed them, so each is checked by a PING before a command, as the
//! connection pools that use this crate do, and made again elsewhere if that fails.

use std::process::ExitCode;
use std::time::Duration;

use circlet_tests::clients::{Call, addresses, work};
use redis::cluster::{ClusterClientBuilder, ClusterConnection};
use redis::{Client, Connection, ConnectionLike, RedisResult, cmd};

const TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("standalone") => {
            let addresses = addresses("CIRCLET_CLIENT_ADDRESSES");
            let mut turn = 0;
            run("redis-crate-standalone", || elsewhere(&addresses, &mut turn))
        }
        Some("cluster") => {
            let addresses = addresses("CIRCLET_CLUSTER_ADDRESSES");
            run("redis-crate-cluster", || cluster(&addresses))
        }
        _ => panic!("standalone or cluster?"),
    }
}

fn run<C: ConnectionLike>(name: &str, mut connect: impl FnMut() -> RedisResult<C>) -> ExitCode {
    let mut connection = None;
    work(name, |call| {
        let usable = connection.take().and_then(|mut open: C| open.check_connection().then_some(open));
        let open = match usable {
            Some(open) => open,
            None => connect().map_err(|error| error.to_string())?,
        };
        let open = connection.insert(open);
        let reply: RedisResult<Option<String>> = match call {
            Call::Set(key, value) => cmd("SET").arg(key).arg(value).query(open),
            Call::Get(key) => cmd("GET").arg(key).query(open),
        };
        reply.map_err(|error| error.to_string())
    })
}

/// A connection to the next address that takes one.
fn elsewhere(addresses: &[String], turn: &mut usize) -> RedisResult<Connection> {
    let mut result = None;
    for _ in addresses {
        let client = Client::open(format!("redis://{}", addresses[*turn % addresses.len()]))?;
        match client.get_connection_with_timeout(TIMEOUT) {
            Ok(connection) => {
                connection.set_read_timeout(Some(TIMEOUT))?;
                return Ok(connection);
            }
            Err(error) => result = Some(Err(error)),
        }
        *turn += 1;
    }
    result.expect("at least one address")
}

/// One retry is what this crate needs to follow a single MOVED; it counts redirections as retries.
fn cluster(addresses: &[String]) -> RedisResult<ClusterConnection> {
    let nodes = addresses.iter().map(|address| format!("redis://{address}"));
    ClusterClientBuilder::new(nodes).retries(1).response_timeout(TIMEOUT).build()?.get_connection()
}
