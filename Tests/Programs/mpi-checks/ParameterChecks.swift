import MPI

/// Says what the library works with; the test knows what it was told.
func parameters(_ check: Check, _ world: borrowing Communicator) throws {
  let names = [
    "btl", "btl_tcp_if_exclude", "btl_tcp_flags", "btl_vader_single_copy_mechanism",
    "mpi_yield_when_idle", "no_such_parameter",
  ]
  // All of it in one piece, so that ranks do not mix.
  let values = MPIEnvironment.parameters(names).sorted { $0.key < $1.key }
  let components = ["btl", "pml"].map { ($0, MPIEnvironment.openComponents(of: $0)) }
  let lines =
    values.map { "\($0.key)=\($0.value)" }
    + components.map { "\($0.0): \($0.1.joined(separator: ","))" }
  print(lines.map { "rank \(check.rank) \($0)\n" }.joined(), terminator: "")
}

/// The ranks of one machine read each other's memory, and nobody reads where there is nobody else.
func peerMemory(_ check: Check, _ world: borrowing Communicator) throws {
  try check.expect(
    try world.canReadNextRanksMemory(), equals: check.size > 1 ? true : nil,
    "the next rank's memory")
}
