//! URLs of servers: which forms are allowed.

use std::net::Ipv6Addr;

use crate::config::RedisServer;
use crate::config::Transport;
use crate::config::check::At;

const FORM: &str = "write it as rediss://host or rediss://host:port, or with redis:// for no TLS";

/// The greatest number a database can have.
const LAST_DATABASE: u64 = i32::MAX as u64;

/// A server, and the path behind it: empty, or with a `/` in front.
pub fn parse<'t>(text: &'t str, default_port: u16, at: &At<'_>) -> Option<(RedisServer, &'t str)> {
    let refuse = |complaint: &str, help: &str| {
        at.error_with(format!("`{}` cannot be used: {complaint}", at.shown(text)), help);
        None
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        at.error_with(format!("`{}` is not a URL", at.shown(text)), FORM);
        return None;
    };
    let transport = match scheme {
        "redis" => Transport::Plain,
        "rediss" => Transport::Tls,
        _ => return refuse("the scheme must be redis or rediss", "write rediss://, or redis:// for no TLS"),
    };
    if rest.contains('@') {
        let help = "write `username` and `password: { file: PATH }` beside it";
        return refuse("a user name or password does not belong in a URL", help);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    if path.contains('?') {
        return refuse("a query does not belong here", FORM);
    }
    if path.contains('#') {
        return refuse("a fragment does not belong here", FORM);
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
        None => match authority.split_once(':') {
            // more than one colon: an address of version 6 without its brackets
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (authority, None),
        },
    };
    if host.is_empty() {
        return refuse("the host is missing", FORM);
    }
    if !is_host(host, authority.starts_with('[')) {
        let help = "write a name or an address; of version 6 in brackets, as in rediss://[::1]:6379";
        return refuse("this is not a host", help);
    }
    let port = match port {
        None => Some(default_port),
        Some(digits) if is_number(digits) => digits.parse().ok(),
        Some(_) => None,
    };
    match port {
        None => refuse("this is not a port", "write a number up to 65535, as in rediss://host:6379"),
        Some(0) => refuse("port 0 cannot be connected to", FORM),
        Some(port) => Some((RedisServer { host: host.into(), port, transport }, path)),
    }
}

/// A server that is named without a path; `help` says why.
pub fn without_path(text: &str, default_port: u16, help: &str, at: &At<'_>) -> Option<RedisServer> {
    let (server, path) = parse(text, default_port, at)?;
    if !matches!(path, "" | "/") {
        at.error_with(format!("`{}` cannot be used: a path does not belong here", at.shown(text)), help);
        return None;
    }
    Some(server)
}

/// The database that the path of `text` names.
pub fn database_of(path: &str, text: &str, at: &At<'_>) -> Option<i64> {
    let digits = path.strip_prefix('/').unwrap_or(path);
    let number = match digits {
        "" => Some(0),
        digits if is_number(digits) => digits.parse().ok().and_then(database),
        _ => None,
    };
    if number.is_none() {
        let message =
            format!("`{}` cannot be used: its path is not the number of a database", at.shown(text));
        at.error_with(message, "write rediss://host:port/1 for database 1; without a path it is 0");
    }
    number
}

/// The database of that number, if there can be one.
pub fn database(number: u64) -> Option<i64> {
    (number <= LAST_DATABASE).then(|| i64::try_from(number).ok()).flatten()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_host(host: &str, in_brackets: bool) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    match in_brackets {
        true => host.parse::<Ipv6Addr>().is_ok(),
        false => host.len() <= 253 && host.bytes().all(name),
    }
}
