//! Safe wrappers over the SB API.
