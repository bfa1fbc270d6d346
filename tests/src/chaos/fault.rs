//! The faults.

use std::{ops::Range, thread::sleep, time::Duration};

use clap::ValueEnum;

use super::{history::Since, hosts::Hosts, network::Network, run::Setup, writer::Orders};

/// What happens to a cluster under load.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Fault {
    /// A process is killed, and started again 5 s later.
    Kill,
    /// A process stands still for 10 s.
    Stop,
    /// Less than half of the hosts are cut off from the others for 30 s.
    Partition,
    /// What one host sends to the others does not arrive for 30 s.
    OneWay,
    /// Of what hosts send to each other 5 % of the packets are lost, for 30 s.
    Loss,
    /// Each node in turn leaves and is started again.
    Rolling,
    /// A node joins.
    Join,
    /// A node leaves.
    Leave,
    /// Two nodes join at once.
    TwoJoins,
}

/// What has to be known of a fault to judge by.
#[derive(Default, Debug)]
pub(super) struct Inflicted {
    /// When writes might be lost that one node alone had.
    pub(super) excused: Vec<Range<u64>>,
    /// Hosts that may refuse everything meanwhile.
    pub(super) exempt: Vec<usize>,
    /// From the beginning of the fault to its end.
    pub(super) time: Range<u64>,
}

/// So long before a fault the last writes may not have reached another node.
const LAG_US: u64 = 1_000_000;
/// And so long after it began: a client may take a while to read an answer.
const SLACK_US: u64 = 100_000;

impl Fault {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Inflicts it and ends it; the nodes that run afterwards are ready.
    pub(super) fn inflict(
        self,
        hosts: &mut Hosts,
        orders: &Orders,
        setup: &Setup,
        since: Since,
    ) -> Result<Inflicted, String> {
        let victim = setup.nodes - 1;
        let mut inflicted = Inflicted::default();
        let began_us = since.us();
        let alone = began_us.saturating_sub(LAG_US)..began_us + SLACK_US;
        let excused: Vec<Range<u64>> = if setup.acks == 1 { vec![alone] } else { Vec::new() };
        match self {
            Fault::Kill => {
                orders.avoid(victim);
                hosts.kill(victim);
                inflicted.excused = excused;
                sleep(Duration::from_secs(5));
                hosts.run(victim);
                hosts.wait_ready(victim);
                orders.allow(victim, Hosts::client(victim));
            }
            Fault::Stop => {
                orders.avoid(victim);
                hosts.pause(victim);
                inflicted.excused = excused;
                sleep(Duration::from_secs(10));
                hosts.resume(victim);
                orders.allow(victim, Hosts::client(victim));
            }
            Fault::Partition | Fault::OneWay => {
                let few = if self == Fault::Partition { (setup.nodes - 1) / 2 } else { 1 };
                let (many, few): (Vec<usize>, Vec<usize>) =
                    (0..setup.nodes).partition(|&host| host < setup.nodes - few);
                orders.split(true);
                let cut = |network: &Network| {
                    let mut pairs = many.iter().flat_map(|&one| few.iter().map(move |&other| (one, other)));
                    pairs.try_for_each(|(one, other)| {
                        network.cut(other, one)?;
                        if self == Fault::Partition { network.cut(one, other) } else { Ok(()) }
                    })
                };
                cut(&hosts.network)?;
                inflicted.excused = excused;
                // Who is with few may be refused: by policy, or since its node hears of the others and is not heard.
                inflicted.exempt = few;
                sleep(Duration::from_secs(30));
                hosts.network.heal()?;
            }
            Fault::Loss => {
                hosts.network.lose(5)?;
                sleep(Duration::from_secs(30));
                hosts.network.heal()?;
            }
            Fault::Rolling => {
                for host in 0..setup.nodes {
                    hosts.leave(host)?;
                    hosts.run(host);
                    hosts.wait_ready(host);
                }
            }
            Fault::Join | Fault::TwoJoins => {
                let count = if self == Fault::Join { 1 } else { 2 };
                let joined = (0..count).map(|_| hosts.add()).collect::<Result<Vec<_>, _>>()?;
                for host in joined {
                    hosts.wait_ready(host);
                    orders.allow(host, Hosts::client(host));
                }
            }
            Fault::Leave => {
                hosts.leave(victim)?;
                orders.avoid(victim);
            }
        }
        inflicted.time = began_us..since.us();
        Ok(inflicted)
    }
}
