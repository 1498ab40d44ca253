/// What shares cores: a host, or several that are containers or namespaces of one machine.
struct Machine {
  let hosts: [HostFacts]
  let ranks: [RankFacts]

  /// The machines of a job.
  static func all(of facts: JobFacts) -> [Machine] {
    var groups: [[Int]] = []
    for (index, host) in facts.hosts.enumerated() {
      let group = groups.firstIndex {
        !host.bootIdentifier.isEmpty
          && facts.hosts[$0[0]].bootIdentifier == host.bootIdentifier
      }
      if let group { groups[group].append(index) } else { groups.append([index]) }
    }
    return groups.map { group in
      Machine(hosts: group.map { facts.hosts[$0] }, ranks: group.flatMap(facts.ranks(on:)))
    }
  }

  var hostNames: [String] { hosts.map(\.name) }

  /// The hardware threads that ranks may run on.
  var granted: Set<Int> { Set(ranks.flatMap(\.cpus)) }

  /// Those that the processes which have started the ranks may run on.
  var launchers: Set<Int> { Set(ranks.flatMap(\.launcherCpus)) }

  /// The hardware threads of each core.
  var cores: [[Int]] { hosts[0].cores }

  /// How many different cores some hardware threads belong to.
  func coreCount(of cpus: some Sequence<Int>) -> Int { hosts[0].coreCount(of: Set(cpus)) }
}
