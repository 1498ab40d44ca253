import Hosts
import Reporting

/// Whether there are cores for the ranks' threads, and the ranks are on them.
func coreFindings(_ facts: JobFacts) -> [Finding] {
  if facts.mpirun != nil {
    return facts.hosts.indices.flatMap {
      quotaFindings(facts.hosts[$0], threads: facts.grantedCores(on: $0))
    }
  }
  return Machine.all(of: facts).flatMap { machine in
    machineFindings(machine) + (machine.hosts.count > 1 ? [oneMachine(machine)] : [])
  }
    + facts.hosts.indices.flatMap { index in
      quotaFindings(facts.hosts[index], threads: facts.ranks(on: index).threads)
    }
}

private func oneMachine(_ machine: Machine) -> Finding {
  Finding(
    topic: .cores, severity: .note, hosts: machine.hostNames,
    sentence: "These hosts are containers or namespaces of one machine and share its "
      + "\(counted(machine.cores.count, "core")), so speeds measured here say nothing of a "
      + "cluster's."
  )
}

/// Whether the kernel lets so many threads run at once.
private func quotaFindings(_ host: HostFacts, threads: Int) -> [Finding] {
  guard let quota = host.coreQuota, quota < Double(min(threads, host.cores.count)) else {
    return []
  }
  return [
    Finding(
      topic: .cores, severity: .warning, hosts: [host.name],
      sentence:
        "The container or batch system grants the time of \(threeDigits(quota)) cores, fewer "
        + "than \(counted(threads, "thread")) could use: the kernel stops them again and again.",
      remedy: "Start fewer ranks or threads, or ask for more (docker run --cpus=…).")
  ]
}

private func machineFindings(_ machine: Machine) -> [Finding] {
  let crowded = crowds(machine)
  if !crowded.isEmpty { return crowded }
  let busy = machine.ranks.threads
  // A job may be granted only some of the cores, by its batch system or a container.
  let cores = machine.coreCount(of: machine.granted)
  let what =
    ranksAndThreads(machine.ranks) + (machine.ranks.count == 1 ? " runs" : " run")
    + " on \(counted(cores, "core"))"
  guard busy <= cores else { return [overload(machine, what, busy)] }
  let unbound = machine.coreCount(of: machine.launchers.union(machine.granted)) - cores
  if unbound > 0 { return [tightBinding(machine, what, idle: unbound)] + split(machine) }
  let idle = cores - busy
  let isOneEach = machine.ranks.allSatisfy { $0.threads == 1 }
  let use =
    idle == 0
    ? Finding.ok(.cores, "there is a core for each \(isOneEach ? "rank" : "thread")")
    : Finding(
      topic: .cores, severity: .note, hosts: machine.hostNames,
      sentence: "\(what); \(counted(idle, "core")) \(idle == 1 ? "has" : "have") nothing to do.",
      remedy: "Start more ranks, or more threads with --threads.")
  return [use, binding(machine, cores)] + split(machine)
}

/// Ranks that are kept from cores which the job has.
private func tightBinding(_ machine: Machine, _ what: String, idle: Int) -> Finding {
  Finding(
    topic: .binding, severity: .warning, hosts: machine.hostNames,
    sentence: "\(what), which they are bound to, and \(counted(idle, "core")) more that this job "
      + "has \(idle == 1 ? "is" : "are") idle: mpirun binds one or two ranks to a core each unless "
      + "told otherwise.",
    remedy: "mpirun --map-by slot --bind-to numa … (Launch/local does it by itself)")
}

/// Whether fewer ranks of more threads would be faster, or more of fewer: a rank for each node of
/// the machine's memory is best.
private func split(_ machine: Machine) -> [Finding] {
  let nodes = machine.hosts[0].memoryNodes
  guard machine.hosts.count == 1, !nodes.isEmpty else { return [] }
  let wide = machine.ranks.filter { rank in
    machine.hosts[0].memoryNodeCount(of: rank.cpus) > 1
      && rank.threads > (nodes.map { machine.coreCount(of: $0) }.max() ?? 0)
  }
  let remedy =
    "mpirun --map-by slot --bind-to numa -n \(nodes.count) … (a rank for each node of "
    + "the memory of a host, as Launch/local starts them without -n)"
  if let rank = wide.first {
    return [
      Finding(
        topic: .cores, severity: .note, hosts: machine.hostNames, ranks: wide.map(\.rank),
        sentence: "\(rank.threads) threads of a rank are on "
          + "\(machine.hosts[0].memoryNodeCount(of: rank.cpus)) nodes of the machine's memory: "
          + "what is near to one is far from the others.",
        remedy: remedy)
    ]
  }
  let used = machine.hosts[0].memoryNodeCount(of: machine.granted)
  guard used > 0, machine.ranks.count > used else { return [] }
  return [
    Finding(
      topic: .cores, severity: .note, hosts: machine.hostNames,
      sentence: "\(ranksAndThreads(machine.ranks)) share "
        + "\(used == 1 ? "a node" : "\(used) nodes") of the machine's memory: at the end each "
        + "waits for the slowest, where the threads of one rank would share its work, and what "
        + "they send each other need not be sent.",
      remedy: remedy)
  ]
}

/// `4 ranks of 2 threads`, `1 rank`.
private func ranksAndThreads(_ ranks: [RankFacts]) -> String {
  let isOneEach = ranks.allSatisfy { $0.threads == 1 }
  return counted(ranks.count, "rank")
    + (isOneEach ? "" : " of \(threadWords(ranks.map(\.threads)))")
}

extension [RankFacts] {
  /// Of all together.
  fileprivate var threads: Int { reduce(0) { $0 + $1.threads } }
}

/// More threads than cores, wherever the ranks may run.
private func overload(_ machine: Machine, _ what: String, _ busy: Int) -> Finding {
  let yields = !machine.hosts.contains { $0.parameters["mpi_yield_when_idle"] == "false" }
  let hardwareThreads =
    busy <= machine.granted.count
    ? " (\(machine.granted.count) hardware threads; those of a core share its multiply–add units)"
    : ""
  return Finding(
    topic: .cores, severity: .warning, hosts: machine.hostNames,
    sentence:
      "\(what)\(hardwareThreads): they take turns, and nothing is gained over one thread a core"
      + (yields ? "." : "; and a rank that waits inside Open MPI keeps its core from the others."),
    remedy: "Start fewer ranks or threads, or use more hosts"
      + (yields ? "." : "; for a trial add: --mca mpi_yield_when_idle 1"))
}

/// Ranks that are bound to so few cores that they get in each other's way while others are free.
private func crowds(_ machine: Machine) -> [Finding] {
  let all = machine.cores.count
  return groupsThatMeet(machine.ranks).compactMap { group in
    let cpus = Set(group.flatMap(\.cpus))
    let cores = machine.coreCount(of: cpus)
    let busy = group.threads
    // Where there are too few cores for all, a group's share of them is no fault of the binding.
    let share = min(busy, all * busy / max(all, machine.ranks.threads))
    guard cores < share else { return nil }
    let which = ranges(cpus.sorted())
    let place = cores == 1 ? "core (\(which))" : "\(cores) cores (\(which))"
    let who =
      group.count == 1
      ? "The \(group[0].threads) threads of a rank" : ranksAndThreads(group)
    let most = group.map(\.threads).max() ?? 1
    let names = machine.hosts.map(\.name)
    return Finding(
      topic: .binding, severity: .problem, hosts: names, ranks: group.map(\.rank),
      sentence:
        "\(who) are bound to the same \(place), of \(all) that there are: they take turns, and "
        + "other cores may be idle.",
      remedy: group.count == 1
        ? "Give each rank its cores: mpirun --map-by slot:PE=\(most) …"
        : "Leave the binding to one mpirun: --map-by slot:PE=\(most). Where two jobs run here "
          + "at once, or a batch system gives out cores by itself: --bind-to none")
  }
}

/// Ranks that may run on a processor that another of their group may run on.
private func groupsThatMeet(_ ranks: [RankFacts]) -> [[RankFacts]] {
  var groups: [(cpus: Set<Int>, ranks: [RankFacts])] = []
  for rank in ranks {
    let cpus = Set(rank.cpus)
    let near = groups.filter { !$0.cpus.isDisjoint(with: cpus) }
    groups.removeAll { !$0.cpus.isDisjoint(with: cpus) }
    groups.append((near.reduce(cpus) { $0.union($1.cpus) }, near.flatMap(\.ranks) + [rank]))
  }
  return groups.map { $0.ranks.sorted { $0.rank < $1.rank } }.sorted { $0[0].rank < $1[0].rank }
}

/// Whether ranks for which there is room stay where they are.
private func binding(_ machine: Machine, _ cores: Int) -> Finding {
  let free = machine.ranks.count { machine.coreCount(of: $0.cpus) > $0.threads }
  let threads = machine.ranks.map(\.threads).max() ?? 1
  if free == 0 { return .ok(.binding, "each rank is bound to as many cores as it has threads") }
  // A rank alone has nobody to be kept apart from.
  if machine.ranks.count == 1 { return .ok(.binding, "one rank, free to use all cores") }
  // mpirun would not know which of its cores a job may use.
  if machine.granted.count < machine.cores.joined().count {
    return .ok(.binding, "ranks may use all cores that this job was given")
  }
  // Several hosts' mpirun daemons would all bind to the same cores of one machine.
  if machine.hosts.count > 1 { return .ok(.binding, "ranks are not bound") }
  let who = free == machine.ranks.count ? "The ranks" : "\(free) of \(machine.ranks.count) ranks"
  return Finding(
    topic: .binding, severity: .note, hosts: machine.hostNames,
    sentence:
      "\(who) are not bound to \(threads == 1 ? "a core" : "\(threads) cores") each, though there "
      + "are enough: they may wander from core to core, away from their memory.",
    remedy: "mpirun --map-by slot:PE=\(threads) … (Launch/local does it by itself)")
}
