//! The master that sentinels know of, asked for and looked at as
//! <https://redis.io/docs/latest/develop/reference/sentinel-clients/> has it.

use redis::AsyncConnectionConfig;
use redis::Client;
use redis::ErrorKind;
use redis::RedisError;
use redis::Role;
use redis::aio::MultiplexedConnection;
use redis::cmd;
use tokio::task::JoinSet;

/// What one step came to.
enum Step {
    /// What a sentinel says of where the master is, if it knows one.
    Told(Result<Option<(String, u16)>, RedisError>),
    /// The server there, if it is a master.
    Visited(Result<Option<MultiplexedConnection>, RedisError>),
}

/// A connection to the master of that `name`. All sentinels are asked at the same time, so that none that is away or behind the
/// times holds up the others, and each server that they tell of is visited once, by its `client`.
///
/// # Errors
/// If none of those servers is a master that lets us in, or no sentinel knows one.
pub async fn master(
    sentinels: Vec<Client>,
    name: &str,
    client: impl Fn(String, u16) -> Result<Client, RedisError>,
    config: &AsyncConnectionConfig,
) -> Result<MultiplexedConnection, RedisError> {
    let mut steps = JoinSet::new();
    for sentinel in sentinels {
        let (name, config) = (name.to_owned(), config.clone());
        steps.spawn(async move { Step::Told(ask(&sentinel, &name, &config).await) });
    }
    let mut told = Vec::new();
    let (mut theirs, mut its) = (None, None);
    while let Some(step) = steps.join_next().await {
        match step {
            Ok(Step::Told(Ok(Some(address)))) if !told.contains(&address) => {
                told.push(address.clone());
                let (client, config) = (client(address.0, address.1)?, config.clone());
                steps.spawn(async move { Step::Visited(visit(&client, &config).await) });
            }
            Ok(Step::Told(Err(error))) => theirs = Some(error),
            Ok(Step::Visited(Ok(Some(master)))) => return Ok(master),
            Ok(Step::Visited(Err(error))) => its = Some(error),
            // known already, unknown, or no master
            Ok(Step::Told(Ok(_)) | Step::Visited(Ok(None))) | Err(_) => {}
        }
    }
    let none =
        || (ErrorKind::MasterNameNotFoundBySentinel, "the sentinels know no master of this name").into();
    Err(its.or(theirs).unwrap_or_else(none))
}

async fn ask(
    sentinel: &Client,
    name: &str,
    config: &AsyncConnectionConfig,
) -> Result<Option<(String, u16)>, RedisError> {
    let mut connection = sentinel.get_multiplexed_async_connection_with_config(config).await?;
    cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).query_async(&mut connection).await
}

/// It may have been one when the sentinel last heard of it.
async fn visit(
    client: &Client,
    config: &AsyncConnectionConfig,
) -> Result<Option<MultiplexedConnection>, RedisError> {
    let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
    let role: Role = cmd("ROLE").query_async(&mut connection).await?;
    Ok(matches!(role, Role::Primary { .. }).then_some(connection))
}
