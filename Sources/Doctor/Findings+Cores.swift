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
    machineFindings(machine, threads: facts.threads)
      + (machine.hosts.count > 1 ? [oneMachine(machine)] : [])
  }
    + facts.hosts.indices.flatMap { index in
      quotaFindings(facts.hosts[index], threads: facts.ranks(on: index).count * facts.threads)
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

private func machineFindings(_ machine: Machine, threads: Int) -> [Finding] {
  let crowded = crowds(machine, threads: threads)
  if !crowded.isEmpty { return crowded }
  let busy = machine.ranks.count * threads
  // A job may be granted only some of the cores, by its batch system or a container.
  let cores = machine.coreCount(of: machine.granted)
  let what =
    counted(machine.ranks.count, "rank") + (threads == 1 ? "" : " of \(threads) threads")
    + (machine.ranks.count == 1 ? " runs" : " run") + " on \(counted(cores, "core"))"
  guard busy <= cores else { return [overload(machine, what, busy)] }
  let idle = cores - busy
  let use =
    idle == 0
    ? Finding.ok(.cores, "there is a core for each \(threads == 1 ? "rank" : "thread")")
    : Finding(
      topic: .cores, severity: .note, hosts: machine.hostNames,
      sentence: "\(what); \(counted(idle, "core")) \(idle == 1 ? "has" : "have") nothing to do.",
      remedy: "Start more ranks, or more threads with --threads.")
  return [use, binding(machine, threads: threads, cores)]
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
private func crowds(_ machine: Machine, threads: Int) -> [Finding] {
  let all = machine.cores.count
  return groupsThatMeet(machine.ranks).compactMap { group in
    let cpus = Set(group.flatMap(\.cpus))
    let cores = machine.coreCount(of: cpus)
    let busy = group.count * threads
    // Where there are too few cores for all, a group's share of them is no fault of the binding.
    let share = min(busy, all * busy / max(all, machine.ranks.count * threads))
    guard cores < share else { return nil }
    let which = ranges(cpus.sorted())
    let place = cores == 1 ? "core (\(which))" : "\(cores) cores (\(which))"
    let who =
      group.count == 1
      ? "The \(threads) threads of a rank"
      : "\(group.count) ranks\(threads == 1 ? "" : " of \(threads) threads")"
    let names = machine.hosts.map(\.name)
    return Finding(
      topic: .binding, severity: .problem, hosts: names, ranks: group.map(\.rank),
      sentence:
        "\(who) are bound to the same \(place), of \(all) that there are: they take turns, and "
        + "other cores may be idle.",
      remedy: group.count == 1
        ? "Give each rank its cores: mpirun --map-by slot:PE=\(threads) …"
        : "Leave the binding to one mpirun: --map-by slot:PE=\(threads). Where two jobs run here "
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
private func binding(_ machine: Machine, threads: Int, _ cores: Int) -> Finding {
  let free = machine.ranks.filter { machine.coreCount(of: $0.cpus) > threads }.count
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
