mod certificates;
mod golden_sector;
mod http;
mod links_join;
mod links_messages;
mod links_pairs;
mod links_pressure;
mod links_refusals;
mod links_strangers;
mod links_support;
mod node_asleep;
mod node_dilation;
mod node_galaxy;
mod node_moved;
mod node_parked;
mod node_restart;
mod node_rollup;
mod node_sessions;
mod node_stop;
mod node_store;
mod node_support;
#[cfg(feature = "postgres")]
mod postgres_server;
mod protocol_any;
mod protocol_bytes;
mod protocol_client;
mod protocol_codecs;
mod protocol_decode;
mod protocol_golden;
mod protocol_swarm;
mod relay;
mod replay;
mod server_stop;
mod server_tls;
mod session_commands;
mod session_connect;
mod session_orders;
mod session_places;
mod session_script;
mod session_socket;
mod store_conformance;
mod store_copy;
mod store_disk;
mod store_model;
mod store_open;
#[cfg(feature = "postgres")]
mod store_postgres;
#[cfg(feature = "postgres")]
mod store_postgres_faults;
#[cfg(feature = "postgres")]
mod store_postgres_races;
#[cfg(feature = "postgres")]
mod store_postgres_tls;
mod store_power_cut;
mod store_segments;
mod store_support;
