mod server;

mod ground;

mod ledgers;

mod judges;

mod owners;

mod routers;

mod asking;

mod beginning;

mod desk;

mod keeping;

mod faults;

mod following;

mod tenures;
