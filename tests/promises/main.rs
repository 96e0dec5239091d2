mod golden_sector;
mod node_restart;
mod protocol_client;
mod protocol_swarm;
mod store_conformance;
