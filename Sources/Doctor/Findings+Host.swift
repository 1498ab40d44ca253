import Hosts
import Reporting

/// What else of a host or its shell gets in a job's way.
func hostFindings(_ facts: JobFacts) -> [Finding] {
  let findings =
    facts.hosts.flatMap { nameFindings($0) + frequencyFindings($0) }
    + (facts.mpirun == nil ? [] : facts.ranks.flatMap { launchLimitFindings($0, facts) })
    + facts.ranks.flatMap { limitFindings($0, facts) }
  let isLimited = findings.contains { $0.topic == .limits }
  return findings + (isLimited ? [] : [.ok(.limits, "no limit of the shell is in the way")])
}

private func nameFindings(_ host: HostFacts) -> [Finding] {
  if !host.resolvesOwnName {
    return [
      Finding(
        topic: .names, severity: .note, hosts: [host.name],
        sentence: "The host finds no address for its own name.",
        remedy: "Add it to /etc/hosts; Open MPI looks it up at every start.")
    ]
  }
  guard host.resolutionSeconds > 1 else { return [] }
  return [
    Finding(
      topic: .names, severity: .warning, hosts: [host.name],
      sentence:
        "Looking up the host's own name takes \(fixed(host.resolutionSeconds, 0)) s, and Open MPI "
        + "does so at every start.",
      remedy: "Add the hosts to /etc/hosts, or mend the name servers in /etc/resolv.conf.")
  ]
}

private func frequencyFindings(_ host: HostFacts) -> [Finding] {
  // These drivers call "powersave" what adapts to the load.
  let adapting = ["intel_pstate", "amd-pstate-epp"]
  guard let governor = host.frequencyGovernor, ["powersave", "conservative"].contains(governor),
    !adapting.contains(host.frequencyDriver ?? "")
  else { return [] }
  return [
    Finding(
      topic: .processor, severity: .warning, hosts: [host.name],
      sentence: "The processor is kept slow: its frequency governor is \(governor).",
      remedy: "cpupower frequency-set --governor performance")
  ]
}

/// What mpirun inherits from the shell, for as many ranks as the host has cores.
private func launchLimitFindings(_ rank: RankFacts, _ facts: JobFacts) -> [Finding] {
  let host = facts.hosts[rank.host]
  let cores = max(2, host.cores.count)
  guard let limit = rank.openFilesSoftLimit, OpenFiles.ranks(with: limit) < cores else { return [] }
  return [
    Finding(
      topic: .limits, severity: .problem, hosts: [host.name],
      sentence: "mpirun may have \(limit) files open (ulimit -n), enough to start "
        + "\(counted(OpenFiles.ranks(with: limit), "rank")) on a host, which has "
        + "\(counted(cores, "core")); with more it hangs.",
      remedy: "ulimit -n 65536 (Launch/local raises it as far as it may)")
  ]
}

private func limitFindings(_ rank: RankFacts, _ facts: JobFacts) -> [Finding] {
  let host = facts.hosts[rank.host]
  func finding(_ severity: Finding.Severity, _ sentence: String, _ remedy: String) -> Finding {
    Finding(
      topic: .limits, severity: severity, hosts: [host.name], ranks: [rank.rank],
      sentence: sentence, remedy: remedy)
  }
  var result: [Finding] = []
  if let limit = rank.fileSizeLimitBytes {
    result.append(
      finding(
        .warning,
        "Files may have \(formatBytes(Double(limit))) at most (ulimit -f): a larger output fails.",
        "ulimit -f unlimited, on every host (/etc/security/limits.conf)"))
  }
  if let limit = rank.addressSpaceLimitBytes, limit < host.memoryBytes {
    result.append(
      finding(
        .warning,
        "A rank may have \(formatBytes(Double(limit))) of addresses (ulimit -v), and Open MPI's "
          + "and other ranks' shared memory count too.",
        "ulimit -v unlimited, on every host"))
  }
  // A connection to every rank of the others, and what the program and Open MPI have open.
  let needed = facts.ranks.count + 128
  if let limit = rank.openFilesLimit, limit < needed {
    result.append(
      finding(
        .problem,
        "A rank may have \(limit) files and connections open (ulimit -H -n), and may need "
          + "\(needed).",
        "ulimit -n 65536, on every host"))
  }
  if let limit = rank.lockedMemoryLimitBytes, !host.infiniband.isEmpty {
    result.append(
      finding(
        .warning,
        "A rank may lock \(formatBytes(Double(limit))) (ulimit -l); InfiniBand needs all that it "
          + "sends.",
        "ulimit -l unlimited, on every host (/etc/security/limits.conf)"))
  }
  return result
}
