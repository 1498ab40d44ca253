import Hosts
import Reporting

extension DoctorReport {
  /// Tables of hosts and ranks, then findings with what to do, worst first.
  package var text: String {
    let parts =
      [heading, table(hostRows, names: [0, 4]), table(rankRows, names: [0, 1, 3])] + [library]
      + findings.filter { $0.severity != .ok }.map(\.text) + [fine, verdict]
    return parts.filter { !$0.isEmpty }.joined(separator: "\n\n")
  }

  private var heading: String {
    let ranks = counted(perRank.count, "rank")
    let each = " of \(threadWords(perRank.map(\.threads)))"
    return mpirun.value == nil
      ? "\(ranks)\(each) on \(counted(hosts.count, "host"))." : "This host, without mpirun."
  }

  private var hostRows: [[String]] {
    [["host", "cores", "memory available", "free to share", "network"]]
      + hosts.map { host in
        let threads = host.cpus.count
        let interfaces = host.interfaces.filter { $0.isUp && !$0.isLoopback }
        return [
          host.name,
          granted(of: host) + "\(host.cores.count)"
            + (threads > host.cores.count ? " (\(threads) hardware threads)" : ""),
          formatBytes(Double(host.availableMemoryBytes)),
          host.sharedMemory.map { formatBytes(Double($0.freeBytes)) } ?? "unknown",
          interfaces.map { "\($0.name) \($0.address)/\($0.prefixLength)" }.joined(separator: ", "),
        ]
      }
  }

  /// Without mpirun, where this process may use only some of the cores; under it a table says so.
  private func granted(of host: HostFacts) -> String {
    guard mpirun.value != nil, let cpus = perRank.first?.cpus, !cpus.isEmpty else { return "" }
    let count = host.coreCount(of: cpus)
    return count < host.cores.count ? "\(count) of " : ""
  }

  /// A line for ranks of one host that have as many threads and may run on the same processors.
  private var rankRows: [[String]] {
    guard mpirun.value == nil else { return [] }
    var groups: [[RankFacts]] = []
    for rank in perRank {
      let index = groups.firstIndex {
        $0[0].host == rank.host && $0[0].cpus == rank.cpus && $0[0].threads == rank.threads
      }
      if let index { groups[index].append(rank) } else { groups.append([rank]) }
    }
    return [["ranks", "host", "threads", "may run on"]]
      + groups.map { ranks in
        let host = hosts[ranks[0].host]
        let cpus = ranks[0].cpus
        let isFree = Set(cpus) == host.cpus
        return [
          Hosts.ranges(ranks.map(\.rank)), host.name, "\(ranks[0].threads)",
          (host.cpus.count == host.cores.count ? "core" : "hardware thread")
            + (cpus.count == 1 ? " " : "s ") + Hosts.ranges(cpus)
            + (isFree ? ", all there are" : ""),
        ]
      }
  }

  /// What of Open MPI is open on the first host.
  private var library: String {
    guard mpirun.value == nil, let host = hosts.first else { return "" }
    let names = ["pml", "btl", "coll", "osc"].map {
      "\($0) \((host.components[$0] ?? []).joined(separator: ", "))"
    }
    return wrapped(
      "Open MPI chooses for each message and operation among the components open on \(host.name): "
        + "\(names.joined(separator: "; ")).", width: Finding.width, indent: "")
  }

  private var fine: String {
    let sentences = findings.filter { $0.severity == .ok }.map(\.sentence)
    guard !sentences.isEmpty else { return "" }
    return wrapped(
      "Fine: \(sentences.joined(separator: "; ")).", width: Finding.width, indent: "")
  }

  private var verdict: String {
    let counts = Finding.Severity.allCases.filter { $0 != .ok }.compactMap { severity in
      let count = findings.count { $0.severity == severity }
      return count == 0 ? nil : counted(count, severity.rawValue)
    }
    let next =
      mpirun.value == nil
      ? "" : " For the rest start it as the job that is to follow: mpirun -n P … gyre doctor"
    let found = counts.isEmpty ? "Nothing to mend." : "\(listed(counts))."
    return wrapped(found + next, width: Finding.width, indent: "")
  }
}

extension Finding {
  /// The width of a line.
  package static let width = 96

  /// The sentence with its place, and below it what to do.
  fileprivate var text: String {
    var place = listed(hosts)
    if !ranks.isEmpty {
      place += (place.isEmpty ? "" : ", ") + (ranks.count == 1 ? "rank " : "ranks ") + ranges(ranks)
    }
    let head = "\(severity.rawValue): \(place.isEmpty ? "" : "\(place): ")\(sentence)"
    let lines = [
      wrapped(head, width: Self.width, indent: "  "),
      remedy.map { "  " + wrapped("→ \($0)", width: Self.width - 2, indent: "    ") },
    ]
    return lines.compactMap { $0 }.joined(separator: "\n")
  }
}
