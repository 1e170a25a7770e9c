//! One pool of connections per upstream.
//!
//! **In:** a request for an upstream. **Out:** its answer, over a connection that rested or a new one. **Never:**
//! sends a request twice that could have been acted on; hands a connection on before its answer was read.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;

use http::Request;
use http::Response;
use rustls::pki_types::ServerName;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config;
use crate::config::Scheme;
use crate::config::Upstream;
use crate::net;
use crate::net::budget::Share;
use crate::net::dialer;
use crate::net::dialer::Dialer;
use crate::net::dialer::Stream;
use crate::net::names::Names;
use crate::net::tls;
use crate::pipeline::forward::Error;
use crate::pipeline::forward::failure;
use crate::pipeline::forward::pool::answer::Holds;
use crate::pipeline::forward::pool::connection::Failure;
use crate::pipeline::forward::pool::connection::Http1;
use crate::pipeline::forward::pool::connection::Http2;
use crate::pipeline::forward::pool::connection::Stake;
use crate::pipeline::forward::pool::form::Place;
use crate::pipeline::forward::pool::resting::Resting;
use crate::pipeline::forward::pool::room::Room;

pub use crate::pipeline::forward::pool::answer::Answer;
pub use crate::pipeline::forward::pool::pools::Pools;
pub use crate::pipeline::forward::pool::resting::Bounds;

mod answer;
mod connection;
mod form;
mod pools;
mod resting;
mod room;

/// Connections to one upstream. Belongs to one runtime: what drives its connections runs where they were asked for.
#[derive(Debug)]
pub struct Pool {
    /// Pools for one upstream have the same, on every runtime.
    share: Share,
    room: Room,
    dialer: Dialer,
    /// For what begins as HTTP/1.1 and does not stay so.
    upgrades: Dialer,
    place: Place,
    http2: config::Http2,
    bounds: Bounds,
    /// Never contended while one thread uses the pool, and never held while anything is awaited.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    resting: Resting<Http1>,
    shared: Option<Arc<Http2>>,
    /// What the upstream speaks, as far as is known.
    speaks: Option<Version>,
    /// The attempt everyone waits for who needs a connection that may be shared.
    attempt: Option<watch::Receiver<Attempt>>,
    /// Whether a task lets go what rests for too long.
    is_swept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

#[derive(Clone, Debug)]
enum Attempt {
    Ongoing,
    Shared(Arc<Http2>),
    /// There is a connection, but it cannot be shared.
    Unshared,
    Failed(dialer::Error),
}

#[derive(Debug)]
enum Connection {
    Http1(Http1),
    Http2(Stake),
}

impl Pool {
    fn new(upstream: &Upstream, bounds: Bounds, names: &Names, room: &Room) -> Result<Self, tls::Error> {
        let settings = &upstream.tls;
        let (tls, scheme) = match upstream.scheme {
            Scheme::Http => (tls::client_config_without_roots()?, http::uri::Scheme::HTTP),
            Scheme::Https => {
                let certificate = settings.client_certificate.as_ref();
                let certificate = certificate.map(|(chain, key)| (chain.as_path(), key.as_path()));
                (tls::client_config(settings.ca.as_deref(), certificate)?, http::uri::Scheme::HTTPS)
            }
        };
        let server_name =
            settings.server_name.clone().map(ServerName::try_from).transpose().map_err(setup)?;
        let place = Place::new(scheme, upstream.authority.clone()).map_err(setup)?;
        let root = place.root().map_err(setup)?;
        let share = room.budget().share();
        let dialer = |http2| {
            let (tls, name, names, share) = (tls.clone(), server_name.clone(), names.clone(), share.clone());
            match &upstream.socket {
                Some(path) => Dialer::local(path, upstream.connect_timeout),
                None => Dialer::new(root.clone(), tls, http2, upstream.connect_timeout, name, names, share),
            }
        };
        let speaks = match (upstream.http2, upstream.scheme) {
            (config::Http2::Always, _) => Some(Version::Http2),
            (config::Http2::Never, _) | (config::Http2::Auto, Scheme::Http) => Some(Version::Http1),
            (config::Http2::Auto, Scheme::Https) => None,
        };
        let (dialer, upgrades) = (dialer(upstream.http2), dialer(config::Http2::Never));
        let (room, state) = (room.clone(), Mutex::new(State::new(bounds, speaks)));
        Ok(Self { share, room, dialer, upgrades, place, http2: upstream.http2, bounds, state })
    }

    /// A pool for the same upstream that has no connections yet.
    fn beside(other: &Self) -> Self {
        Self {
            share: other.share.clone(),
            room: other.room.clone(),
            dialer: other.dialer.clone(),
            upgrades: other.upgrades.clone(),
            place: other.place.clone(),
            http2: other.http2,
            bounds: other.bounds,
            state: Mutex::new(State::new(other.bounds, other.state().speaks)),
        }
    }

    fn is_beside(&self, other: &Self) -> bool {
        self.share.is_same(&other.share)
    }

    /// Sends `request`, whose URL need only be a path. A connection that rested may have died without our knowing:
    /// then the request is sent once more over a new one, if the upstream cannot have acted on it or may do so twice.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn request(self: &Arc<Self>, request: Request<net::Body>) -> Result<Response<Answer>, Error> {
        let request = match self.reused() {
            None => request,
            Some(connection) => {
                let spare = form::spare(&request);
                match (self.send(connection, request).await, spare) {
                    (Ok(answer), _) => return Ok(answer),
                    (Err(Failure::Unsent(request, _)), _) => *request,
                    (Err(Failure::Lost(_)), Some(spare)) => spare,
                    (Err(Failure::Lost(error) | Failure::Other(error)), _) => {
                        return Err(failure::unanswered(error));
                    }
                }
            }
        };
        // rare, and much larger than what is common
        Box::pin(self.request_anew(request)).await
    }

    /// Whether the upstream may be asked for another protocol: HTTP/1.1 alone can be left behind by a request for it.
    pub fn takes_upgrades(&self) -> bool {
        self.http2 != config::Http2::Always
    }

    /// Sends `request`, which asks for another protocol, over a connection of its own. A 101 holds it.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn upgrade(&self, mut request: Request<net::Body>) -> Result<Response<Answer>, Error> {
        let stream = self.dialled(&self.upgrades).await.map_err(failure::unconnected)?;
        if let Err(error) = stream.expect_acknowledgements() {
            tracing::debug!(%error, "a connection's options cannot be set");
        }
        self.place.in_http1(&mut request);
        let response = connection::ask_for_upgrade(stream, request).await.map_err(failure::unanswered)?;
        Ok(response.map(Answer::of_its_own))
    }

    /// Lays `connection` to rest until it is used again.
    fn rest(self: &Arc<Self>, connection: Http1) {
        let mut state = self.state();
        state.resting.push(connection);
        self.have_swept(&mut state);
    }

    async fn request_anew(self: &Arc<Self>, request: Request<net::Body>) -> Result<Response<Answer>, Error> {
        let connection = self.connected().await.map_err(failure::unconnected)?;
        self.send(connection, request).await.map_err(|failure| match failure {
            Failure::Unsent(_, error) | Failure::Lost(error) | Failure::Other(error) => {
                failure::unanswered(error)
            }
        })
    }

    async fn send(
        self: &Arc<Self>,
        connection: Connection,
        mut request: Request<net::Body>,
    ) -> Result<Response<Answer>, Failure> {
        match connection {
            Connection::Http1(mut connection) => {
                self.place.in_http1(&mut request);
                let response = connection.send(request).await?;
                let holds = |body| Answer::new(body, Holds::Connection(connection, Arc::clone(self)));
                Ok(response.map(holds))
            }
            Connection::Http2(stake) => {
                self.place.in_http2(&mut request);
                match stake.send(request).await {
                    Ok(response) => Ok(response.map(|body| Answer::new(body, Holds::Stake(stake)))),
                    Err(failure) => {
                        if matches!(failure, Failure::Unsent(..) | Failure::Lost(_)) {
                            self.forget(stake.connection());
                        }
                        Err(failure)
                    }
                }
            }
        }
    }

    /// A connection that is there.
    fn reused(&self) -> Option<Connection> {
        let mut state = self.state();
        match state.shared() {
            Some(shared) => Some(Connection::Http2(Stake::new(shared))),
            None => state.resting.pop(|connection| !connection.is_closed()).map(Connection::Http1),
        }
    }

    /// A connection that is new, or was made while the request was on its way.
    async fn connected(self: &Arc<Self>) -> Result<Connection, dialer::Error> {
        let mut attempt = {
            let mut state = self.state();
            match (state.shared(), state.speaks) {
                (Some(shared), _) => return Ok(Connection::Http2(Stake::new(shared))),
                (None, Some(Version::Http1)) => None,
                (None, Some(Version::Http2) | None) => Some(self.attempt(&mut state)),
            }
        };
        if let Some(attempt) = &mut attempt {
            let outcome = attempt.wait_for(|attempt| !matches!(attempt, Attempt::Ongoing)).await;
            match outcome.map(|attempt| attempt.clone()) {
                Ok(Attempt::Shared(shared)) => return Ok(Connection::Http2(Stake::new(shared))),
                Ok(Attempt::Failed(error)) => return Err(error),
                Ok(Attempt::Unshared | Attempt::Ongoing) => {}
                Err(_abandoned) => return Err(given_up()),
            }
            if let Some(connection) = self.reused() {
                return Ok(connection);
            }
        }
        self.connect().await
    }

    /// The attempt under way, or a new one. It is a task: whoever waits for it may leave.
    fn attempt(self: &Arc<Self>, state: &mut State) -> watch::Receiver<Attempt> {
        if let Some(attempt) = state.attempt.as_ref().filter(|attempt| attempt.has_changed().is_ok()) {
            return attempt.clone();
        }
        let (outcome, attempt) = watch::channel(Attempt::Ongoing);
        state.attempt = Some(attempt.clone());
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let made = pool.connect().await;
            pool.state().attempt = None;
            outcome.send_replace(match made {
                Ok(Connection::Http2(stake)) => Attempt::Shared(Arc::clone(stake.connection())),
                Ok(Connection::Http1(connection)) => {
                    pool.rest(connection);
                    Attempt::Unshared
                }
                Err(error) => Attempt::Failed(error),
            });
        });
        attempt
    }

    /// A new connection.
    async fn connect(self: &Arc<Self>) -> Result<Connection, dialer::Error> {
        let stream = self.dialled(&self.dialer).await?;
        let version = match self.http2 {
            config::Http2::Always => Version::Http2,
            config::Http2::Never => Version::Http1,
            config::Http2::Auto if stream.alpn() == Some(b"h2") => Version::Http2,
            config::Http2::Auto => Version::Http1,
        };
        let broke = |error: hyper::Error| dialer::Error::Connect(Arc::new(error));
        let connection = match version {
            Version::Http1 => Connection::Http1(Http1::over(stream).await.map_err(broke)?),
            Version::Http2 => Connection::Http2(Stake::new(Http2::over(stream).await.map_err(broke)?)),
        };
        let mut state = self.state();
        state.speaks = Some(version);
        if let Connection::Http2(stake) = &connection {
            state.shared = Some(Arc::clone(stake.connection()));
            self.have_swept(&mut state);
        }
        drop(state);
        Ok(connection)
    }

    /// A new stream, if there is room for one.
    async fn dialled(&self, dialer: &Dialer) -> Result<Stream, dialer::Error> {
        let permit = self.room.permit(&self.share).await?;
        Ok(dialer.dial().await?.keeping(permit))
    }

    fn forget(&self, connection: &Arc<Http2>) {
        let mut state = self.state();
        state.shared = state.shared.take().filter(|shared| !Arc::ptr_eq(shared, connection));
    }

    /// Sees to it that a task lets go what rests for too long. It ends when nothing is left, or the pool is gone.
    fn have_swept(self: &Arc<Self>, state: &mut State) {
        if state.is_swept {
            return;
        }
        // an answer may be dropped when its runtime is gone, and its connections with it
        let Ok(runtime) = Handle::try_current() else { return };
        state.is_swept = true;
        runtime.spawn(sweep(Arc::downgrade(self), Instant::now() + self.bounds.rest));
    }

    /// Lets go what has rested for too long. When to do so again, if anything is left.
    fn expire(&self) -> Option<Instant> {
        let mut state = self.state();
        let resting = state.resting.expire(|connection| !connection.is_closed());
        let shared = state.shared().and_then(|shared| {
            // here and in the state: nobody uses it
            let is_used = Arc::strong_count(&shared) > 2;
            let since = if is_used { Instant::now() } else { shared.last_used() };
            Some(since + self.bounds.rest).filter(|end| *end > Instant::now())
        });
        if shared.is_none() {
            state.shared = None;
        }
        let next = resting.into_iter().chain(shared).min();
        state.is_swept = next.is_some();
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// No connections, to an upstream of which only that is known.
    fn new(bounds: Bounds, speaks: Option<Version>) -> Self {
        let resting = Resting::new(bounds);
        Self { resting, shared: None, speaks, attempt: None, is_swept: false }
    }

    /// The connection everyone shares, if there is one and it takes requests.
    fn shared(&mut self) -> Option<Arc<Http2>> {
        self.shared = self.shared.take().filter(|shared| !shared.is_closed());
        self.shared.clone()
    }
}

async fn sweep(pool: Weak<Pool>, mut next: Instant) {
    loop {
        tokio::time::sleep_until(next).await;
        match pool.upgrade().and_then(|pool| pool.expire()) {
            Some(later) => next = later,
            None => return,
        }
    }
}

fn setup(error: impl std::fmt::Display) -> tls::Error {
    tls::Error::Setup(rustls::Error::General(error.to_string()))
}

fn given_up() -> dialer::Error {
    dialer::Error::Connect(Arc::new(io::Error::other("the attempt was given up")))
}
