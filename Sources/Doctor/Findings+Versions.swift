import Reporting

/// Whether all ranks run the same program with the library that it was compiled for.
func versionFindings(_ facts: JobFacts) -> [Finding] {
  guard let first = facts.ranks.first else { return [] }
  var result: [Finding] = []
  if let finding = difference(
    facts, "gyre", of: \.gyreVersion,
    remedy: "Build once, on a file system that all hosts share, and start that executable.")
  {
    result.append(finding)
  } else if let finding = difference(
    facts, "the executable", of: { "build \($0.executable.prefix(8))" },
    remedy: "Copy one build to all hosts, or start it from a file system that they share.")
  {
    result.append(finding)
  }
  if let finding = difference(
    facts, "Open MPI", of: \.libraryVersion,
    remedy: "Install the same version on all hosts, or start the same one everywhere: "
      + "mpirun --prefix /path/of/openmpi …")
  {
    result.append(finding)
  }
  for rank in facts.ranks where majorMinor(rank.libraryVersion) != majorMinor(rank.compiledLibrary)
  {
    result.append(
      Finding(
        topic: .versions,
        severity: major(rank.libraryVersion) == major(rank.compiledLibrary)
          ? .warning : .problem,
        hosts: [facts.hosts[rank.host].name], ranks: [rank.rank],
        sentence: "gyre was compiled with Open MPI \(rank.compiledLibrary) and has loaded "
          + "\(rank.libraryVersion).",
        remedy:
          "Build it again with this one (swift package clean; swift build -c release), or set "
          + "LD_LIBRARY_PATH to the other."))
  }
  if result.isEmpty {
    let everywhere = facts.ranks.count > 1 ? " on all ranks" : ""
    result = [
      .ok(.versions, "gyre \(first.gyreVersion) and Open MPI \(first.libraryVersion)\(everywhere)")
    ]
  }
  return result + processorFindings(facts)
}

/// A problem if ranks differ in something; the sentence says who has what.
private func difference(
  _ facts: JobFacts, _ what: String, of value: (RankFacts) -> String, remedy: String
) -> Finding? {
  let groups = Dictionary(grouping: facts.ranks, by: value)
  guard groups.count > 1 else { return nil }
  let parts = groups.values.sorted { $0[0].rank < $1[0].rank }.map { ranks in
    let hosts = Set(ranks.map(\.host)).sorted().map { facts.hosts[$0].name }
    return "\(value(ranks[0])) on \(listed(hosts))"
  }
  return Finding(
    topic: .versions, severity: .problem,
    sentence: "\(what) is not the same on all ranks: \(parts.joined(separator: "; ")).",
    remedy: remedy)
}

private func major(_ version: String) -> Substring { version.prefix { $0 != "." } }

/// `4.1` of `4.1.4`.
func majorMinor(_ version: String) -> [Substring] {
  Array(version.split(separator: ".").prefix(2))
}

/// Whether the kernels are the best for the processors, and these are alike.
private func processorFindings(_ facts: JobFacts) -> [Finding] {
  guard let first = facts.ranks.first?.instructionSet else { return [] }
  var result: [Finding] = []
  let slow = facts.ranks.filter {
    let best = facts.hosts[$0.host].instructionSet
    return best != nil && best != $0.instructionSet
  }
  if let rank = slow.first {
    let hosts = Set(slow.map(\.host)).sorted().map { facts.hosts[$0] }
    result.append(
      Finding(
        topic: .processor, severity: .note, hosts: hosts.map(\.name),
        sentence: "The processor has \(hosts[0].instructionSet ?? ""), and kernels of "
          + "\(rank.instructionSet) are to compute.",
        remedy: "Leave --instructions out: every rank uses the best that its processor has."))
  }
  let sets = Dictionary(grouping: facts.ranks, by: \.instructionSet)
  if sets.count > 1 {
    let parts = sets.sorted { $0.key < $1.key }.map { set, ranks in
      let hosts = Set(ranks.map(\.host)).sorted().map { facts.hosts[$0].name }
      return "\(set) (\(listed(hosts)))"
    }
    result.append(
      Finding(
        topic: .processor, severity: .note,
        sentence: "Ranks compute with different instruction sets: "
          + "\(parts.joined(separator: ", ")). Results are the same; all wait for the slowest.",
        remedy:
          "Give ranks tokens in proportion to their speed: attend --weights; gyre bench kernel "
          + "measures it."))
  }
  let models = Dictionary(grouping: facts.hosts, by: \.processor)
  if models.count > 1 {
    let parts = models.sorted { $0.value.count > $1.value.count }
      .map { "\($0.key) (\(listed($0.value.map(\.name))))" }
    result.append(
      Finding(
        topic: .processor, severity: .note,
        sentence:
          "Hosts have different processors: \(parts.joined(separator: ", ")). All wait for the "
          + "slowest.",
        remedy:
          "Give ranks tokens in proportion to their speed: attend --weights; gyre bench kernel "
          + "measures it."))
  }
  if result.isEmpty {
    result.append(
      .ok(
        .processor,
        "kernels for \(first), the best that the processor has"))
  }
  return result
}
