//! A Redis cluster.

use std::collections::BTreeMap;

use crate::support::redis::Redis;
use crate::support::redis::words;
use crate::support::until;

/// How many places there are for names.
const SLOTS: usize = 16_384;

/// Three masters, each with a third of the slots.
pub struct Cluster(Vec<Redis>);

impl Cluster {
    /// Starts it and waits until it is whole.
    pub async fn start() -> Self {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        let nodes: Vec<Redis> = (0..3).map(|_| Redis::start_with(|_| words(&options))).collect();
        let third = SLOTS.div_ceil(nodes.len());
        for (number, node) in nodes.iter().enumerate() {
            let first = number * third;
            let last = (first + third).min(SLOTS) - 1;
            let epoch = (number + 1).to_string();
            node.command::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
            node.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        }
        for node in &nodes[1..] {
            node.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port().to_string()]);
        }
        until("the cluster is whole", async || {
            nodes.iter().all(|node| {
                let info: String = node.command(&["CLUSTER", "INFO"]);
                ["cluster_state:ok", "cluster_known_nodes:3", "cluster_size:3"]
                    .iter()
                    .all(|line| info.contains(line))
            })
        })
        .await;
        Self(nodes)
    }

    pub fn nodes(&self) -> &[Redis] {
        &self.0
    }

    /// The tokens that its nodes hold, sealed, by name.
    pub fn entries(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.iter().flat_map(Redis::entries).collect()
    }
}
