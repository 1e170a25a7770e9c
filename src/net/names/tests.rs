//! A resolver that does as it is told, and time that is moved by hand.

use tokio::task::JoinSet;

use super::*;

/// What the resolver does.
#[derive(Clone, Debug)]
enum Way {
    Finds(Vec<IpAddr>),
    FindsAfter(Duration, Vec<IpAddr>),
    Fails,
    Hangs,
}

#[derive(Debug)]
struct State {
    way: Way,
    asked: usize,
}

/// A resolver, and a handle to it.
#[derive(Clone, Debug)]
struct Zone(Arc<Mutex<State>>);

impl Lookup for Zone {
    fn look_up(&self, _: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        let mut state = self.0.lock().unwrap();
        state.asked += 1;
        let way = state.way.clone();
        Box::pin(async move {
            match way {
                Way::Finds(found) => Ok(found),
                Way::FindsAfter(time, found) => {
                    tokio::time::sleep(time).await;
                    Ok(found)
                }
                Way::Fails => Err(io::Error::other("the server cannot be asked")),
                Way::Hangs => std::future::pending().await,
            }
        })
    }
}

impl Zone {
    fn new(way: Way) -> (Self, Names) {
        let zone = Self(Arc::new(Mutex::new(State { way, asked: 0 })));
        (zone.clone(), Names::known_to(zone))
    }

    fn now(&self, way: Way) {
        self.0.lock().unwrap().way = way;
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn finds(address: &str) -> Way {
    Way::Finds(vec![ip(address)])
}

async fn after(duration: Duration) {
    tokio::time::advance(duration).await;
}

/// What `api.internal` is, and how long it took to know.
async fn found(names: &Names) -> (String, Duration) {
    let began = Instant::now();
    let found = match names.addresses("api.internal").await {
        Ok(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    };
    (found, began.elapsed())
}

const AT_ONCE: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn those_who_ask_at_the_same_time_are_one_look_up_and_each_may_leave() {
    let seconds = Duration::from_secs(3);
    let (zone, names) = Zone::new(Way::FindsAfter(seconds, vec![ip("10.0.0.1")]));
    let impatient = tokio::time::timeout(Duration::from_secs(1), found(&names)).await;
    assert!(impatient.is_err(), "the first, who began it, has left");
    let mut asking = JoinSet::new();
    for _ in 0..50 {
        let names = names.clone();
        asking.spawn(async move { found(&names).await });
    }
    for found in asking.join_all().await {
        assert_eq!(found, ("10.0.0.1".into(), Duration::from_secs(2)));
    }
    assert_eq!(zone.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_fresh_for_five_seconds_and_then_a_change_is_followed() {
    let (zone, names) = Zone::new(finds("10.0.0.1"));
    assert_eq!(found(&names).await.0, "10.0.0.1");
    zone.now(finds("10.0.0.2"));
    after(FRESH - Duration::from_millis(1)).await;
    assert_eq!((found(&names).await.0.as_str(), zone.asked()), ("10.0.0.1", 1));
    after(Duration::from_millis(1)).await;
    assert_eq!((found(&names).await.0.as_str(), zone.asked()), ("10.0.0.2", 2));
}

#[tokio::test(start_paused = true)]
async fn the_last_good_answer_serves_for_five_minutes_while_the_resolver_fails() {
    let (zone, names) = Zone::new(finds("10.0.0.1"));
    found(&names).await;
    zone.now(Way::Fails);
    after(LAST_GOOD - Duration::from_secs(1)).await;
    assert_eq!(found(&names).await, ("10.0.0.1".into(), AT_ONCE));
    assert_eq!(zone.asked(), 2);
    assert_eq!(found(&names).await, ("10.0.0.1".into(), AT_ONCE));
    assert_eq!(zone.asked(), 2, "a resolver that has just failed is left alone");
    after(Duration::from_secs(1)).await;
    assert_eq!(found(&names).await, ("the name cannot be resolved".into(), AT_ONCE));
    zone.now(Way::Finds(Vec::new()));
    assert_eq!(found(&names).await, ("the name has no address".into(), AT_ONCE));
    zone.now(finds("10.0.0.2"));
    assert_eq!(found(&names).await, ("10.0.0.2".into(), AT_ONCE));
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_is_waited_for_once() {
    let (zone, names) = Zone::new(finds("10.0.0.1"));
    found(&names).await;
    zone.now(Way::Hangs);
    after(FRESH).await;
    assert_eq!(found(&names).await, ("10.0.0.1".into(), PATIENCE));
    assert_eq!(found(&names).await, ("10.0.0.1".into(), AT_ONCE));
    after(Duration::from_secs(60)).await;
    assert_eq!(found(&names).await, ("10.0.0.1".into(), AT_ONCE));
    assert_eq!(zone.asked(), 2, "it is still being asked");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_late_is_used_from_then_on() {
    let (zone, names) = Zone::new(finds("10.0.0.1"));
    found(&names).await;
    zone.now(Way::FindsAfter(Duration::from_secs(3), vec![ip("10.0.0.2")]));
    after(FRESH).await;
    assert_eq!(found(&names).await, ("10.0.0.1".into(), PATIENCE));
    after(Duration::from_secs(2)).await;
    tokio::task::yield_now().await;
    assert_eq!(found(&names).await, ("10.0.0.2".into(), AT_ONCE));
}

#[tokio::test]
async fn an_address_is_no_name() {
    let (zone, names) = Zone::new(Way::Fails);
    for address in ["127.0.0.1", "::1", "2001:db8::7"] {
        assert_eq!(names.addresses(address).await.unwrap()[..], [ip(address)]);
    }
    assert_eq!(zone.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_name_leads_where_only_an_address_may_neither_at_first_nor_later() {
    let refused = "the name leads to 169.254.169.254, which is link-local or a cloud's own: only an address in its place may lead there";
    let (zone, names) = Zone::new(finds("169.254.169.254"));
    assert_eq!(found(&names).await.0, refused);
    zone.now(Way::Finds(vec![ip("::ffff:169.254.169.254"), ip("10.0.0.1"), ip("fe80::1")]));
    assert_eq!(found(&names).await.0, "10.0.0.1", "what else it leads to serves");
    zone.now(finds("169.254.169.254"));
    after(FRESH).await;
    assert_eq!(
        found(&names).await.0,
        "10.0.0.1",
        "what it led to before serves on, as where the resolver fails"
    );
    after(LAST_GOOD).await;
    assert_eq!(found(&names).await.0, refused);
    // who has written an address means it: managed identities are asked for there
    assert_eq!(names.addresses("169.254.169.254").await.unwrap()[..], [ip("169.254.169.254")]);
}

#[tokio::test]
async fn a_number_that_the_resolver_takes_for_an_address_is_a_name() {
    for host in ["0xa9fea9fe", "2852039166", "169.254.43518", "0251.0376.0251.0376"] {
        let found = Names::default().addresses(host).await;
        assert!(matches!(found, Err(Error::OffLimits(_))), "{host}: {found:?}");
    }
}

#[test]
fn both_kinds_of_addresses_are_tried_by_turns() {
    let turns = |addresses: &[&str]| {
        let found = in_turn(addresses.iter().map(|address| ip(address)).collect()).unwrap();
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(turns(&["::1", "::2", "::2", "10.0.0.1"]), ["::1", "10.0.0.1", "::2"]);
    assert_eq!(
        turns(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1"]),
        ["10.0.0.1", "::1", "10.0.0.2", "10.0.0.3"]
    );
    let many: Vec<IpAddr> = (0..100).map(|last| IpAddr::from([10, 0, 0, last])).collect();
    assert_eq!(in_turn(many).unwrap().len(), MOST_ADDRESSES);
}

#[test]
fn who_waits_for_a_runtime_that_ends_is_told_and_the_next_one_asks_anew() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (zone, names) = Zone::new(Way::Hangs);
    let (ending, lasting) = (runtime(), runtime());
    let asking = names.clone();
    ending.block_on(async move {
        tokio::spawn(async move { asking.addresses("api.internal").await });
        tokio::task::yield_now().await;
    });
    let flight = names.names()["api.internal"].flight.clone().unwrap();
    drop(ending);
    assert!(matches!(lasting.block_on(flight.outcome()), Err(Error::GivenUp)));
    zone.now(finds("10.0.0.1"));
    assert_eq!(lasting.block_on(found(&names)).0, "10.0.0.1");
}

#[tokio::test]
async fn no_more_names_are_remembered_than_there_is_room_for() {
    let (_, names) = Zone::new(finds("10.0.0.1"));
    for name in 0..2 * MOST_NAMES {
        names.addresses(&format!("{name}.internal")).await.unwrap();
        assert!(names.names().len() <= MOST_NAMES);
    }
}

#[tokio::test]
async fn the_system_knows_this_machine_and_nothing_that_must_not_exist() {
    let names = Names::default();
    let found = names.addresses("localhost").await.unwrap();
    assert!(found.iter().all(|address| address.is_loopback()), "{found:?}");
    // RFC 6761 section 6.4
    assert!(names.addresses("orders.invalid").await.is_err());
}
