/// Whether Open MPI copies a message between ranks of a host once, from the sender's memory into
/// the receiver's.
func singleCopyFindings(_ facts: JobFacts) -> [Finding] {
  facts.hosts.indices.flatMap { index in
    hostFindings(facts.hosts[index], facts.ranks(on: index))
  }
}

private func hostFindings(_ host: HostFacts, _ ranks: [RankFacts]) -> [Finding] {
  let tries = ranks.compactMap(\.readsNextRanksMemory)
  guard !tries.isEmpty else {
    guard let scope = host.ptraceScope, scope > 1 else { return [] }
    return [
      Finding(
        topic: .singleCopy, severity: .warning, hosts: [host.name],
        sentence: "kernel.yama.ptrace_scope is \(scope): no process may read another's memory, and "
          + "messages between ranks of this host are copied twice.",
        remedy: permission)
    ]
  }
  let isPermitted = tries.allSatisfy { $0 }
  // Messages within the host go another way.
  guard host.components["btl"]?.contains("vader") ?? false,
    let mechanism = host.parameters["btl_vader_single_copy_mechanism"]
  else {
    if host.components["pml"] != ["ob1"] { return [] }
    return [
      Finding(
        topic: .singleCopy, severity: .warning, hosts: [host.name],
        sentence: "Open MPI's shared-memory component (vader) is not open: ranks of this host talk "
          + "through the network.",
        remedy: "Leave btl unset, or name it: --mca btl self,vader,tcp")
    ]
  }
  switch (mechanism, isPermitted) {
  case ("cma", true):
    return [
      .ok(
        .singleCopy, "ranks of a host read each other's memory (tried), and Open MPI uses it (cma)")
    ]
  case ("cma", false):
    return [
      Finding(
        topic: .singleCopy, severity: .problem, hosts: [host.name],
        ranks: ranks.filter { $0.readsNextRanksMemory == false }.map(\.rank),
        sentence:
          "Open MPI wants to read messages straight from the sender's memory (cma), and the "
          + "kernel refused when this was tried: large messages fail.",
        remedy: "\(permission) Or do without: --mca btl_vader_single_copy_mechanism none")
    ]
  case ("none", _), ("emulated", _):
    return [
      Finding(
        topic: .singleCopy, severity: isPermitted ? .note : .warning, hosts: [host.name],
        sentence:
          "Messages between ranks of this host are copied twice: Open MPI's single copy is off ("
          + "\(mechanism))"
          + (isPermitted
            ? ", though the kernel permits it." : ", and the kernel does not permit it."),
        remedy: isPermitted
          ? "Leave btl_vader_single_copy_mechanism unset; --transport shared (the default where "
            + "all ranks share a host) copies nothing at all." : permission)
    ]
  default:
    return [.ok(.singleCopy, "Open MPI copies messages within a host once (\(mechanism))")]
  }
}

private let permission =
  "Permit it: docker run --cap-add=SYS_PTRACE (or --security-opt seccomp=unconfined); on a host "
  + "sysctl kernel.yama.ptrace_scope=0."
