//! The crate `fred`, standalone (`client-fred standalone`) and in cluster mode (`… cluster`).
//!
//! Each command is tried once. Standalone, this crate goes on calling a client connected whose connection has ended, so
//! each is checked by a PING before a command, as pools do, and replaced by one to another address if that fails. In
//! cluster mode the client makes its connections again by itself, from the topology it asks for, and a second attempt
//! is what it needs to follow one MOVED: it counts a redirection as an attempt.

use std::process::ExitCode;
use std::time::Duration;

use circlet_tests::clients::{Call, addresses, work};
use fred::prelude::*;
use tokio::runtime::Runtime;

const TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let runtime = Runtime::new().expect("a runtime");
    match std::env::args().nth(1).as_deref() {
        Some("standalone") => standalone(&runtime),
        Some("cluster") => cluster(&runtime),
        _ => panic!("standalone or cluster?"),
    }
}

fn standalone(runtime: &Runtime) -> ExitCode {
    let addresses = addresses("CIRCLET_CLIENT_ADDRESSES");
    let mut turn = 0;
    let mut client: Option<Client> = None;
    work("fred-standalone", |call| {
        runtime.block_on(async {
            let usable = match client.take() {
                Some(open) => open.ping::<()>(None).await.is_ok().then_some(open),
                None => None,
            };
            let open = match usable {
                Some(open) => open,
                None => elsewhere(&addresses, &mut turn).await.map_err(|error| error.to_string())?,
            };
            one(client.insert(open), call).await
        })
    })
}

fn cluster(runtime: &Runtime) -> ExitCode {
    let addresses = addresses("CIRCLET_CLUSTER_ADDRESSES");
    let others: Vec<String> = addresses[1..].iter().map(|address| format!("node={address}")).collect();
    let url = format!("redis-cluster://{}?{}", addresses[0], others.join("&"));
    let client = runtime.block_on(connect(&url, true)).expect("the cluster takes a client");
    work("fred-cluster", |call| runtime.block_on(one(&client, call)))
}

async fn one(client: &Client, call: Call<'_>) -> Result<Option<String>, String> {
    let reply: Result<Option<String>, Error> = match call {
        Call::Set(key, value) => client.set(key, value, None, None, false).await,
        Call::Get(key) => client.get(key).await,
    };
    reply.map_err(|error| error.to_string())
}

/// A client of the next address that takes one.
async fn elsewhere(addresses: &[String], turn: &mut usize) -> Result<Client, Error> {
    let mut result = None;
    for _ in addresses {
        match connect(&format!("redis://{}", addresses[*turn % addresses.len()]), false).await {
            Ok(client) => return Ok(client),
            Err(error) => result = Some(Err(error)),
        }
        *turn += 1;
    }
    result.expect("at least one address")
}

async fn connect(url: &str, is_cluster: bool) -> Result<Client, Error> {
    let mut builder = Builder::from_config(Config::from_url(url)?);
    builder.with_connection_config(|config| config.max_command_attempts = if is_cluster { 2 } else { 1 });
    builder.with_performance_config(|config| config.default_command_timeout = TIMEOUT);
    if is_cluster {
        builder.set_policy(ReconnectPolicy::new_constant(0, 20));
    }
    let client = builder.build()?;
    client.init().await?;
    Ok(client)
}
