import Jobs
import Reporting

/// How the job was started, or could be.
func launchFindings(_ facts: JobFacts) -> [Finding] {
  announcedFindings(facts) + userFindings(facts)
    + (facts.mpirun.map { mpirunFindings($0, facts) } ?? slotFindings(facts))
}

/// Ranks of which each is alone.
private func announcedFindings(_ facts: JobFacts) -> [Finding] {
  guard let complaint = facts.announced?.complaint(seen: facts.ranks.count) else { return [] }
  return [
    Finding(
      topic: .mpirun, severity: .problem, sentence: "\(complaint.sentence).",
      remedy: capitalized(complaint.remedy) + ".")
  ]
}

private func slotFindings(_ facts: JobFacts) -> [Finding] {
  guard let slots = facts.slots else { return [] }
  if facts.ranks.count > slots {
    return [
      Finding(
        topic: .slots, severity: .note,
        sentence: "\(counted(facts.ranks.count, "rank")) were started on "
          + "\(counted(slots, "slot")), as --oversubscribe allows.",
        remedy: "Give mpirun more hosts, or more slots of a host, for one rank a core: "
          + "--host node1:16,node2:16 or --hostfile FILE")
    ]
  }
  let seen = "mpirun has \(counted(slots, "slot")) for \(counted(facts.ranks.count, "rank"))"
  guard slots == 1 else { return [.ok(.slots, seen)] }
  return [
    Finding(
      topic: .slots, severity: .note, sentence: "\(seen); it would refuse to start a second one.",
      remedy: moreSlots)
  ]
}

private let moreSlots =
  "Name hosts with their cores, --host node1:16,node2:16 or --hostfile FILE, or ask the batch "
  + "system for more tasks; --oversubscribe is for trials."

/// The mpirun that would start a job here.
private func mpirunFindings(_ mpirun: MpirunFacts, _ facts: JobFacts) -> [Finding] {
  guard let version = mpirun.version else {
    return [
      Finding(
        topic: .mpirun, severity: .problem, sentence: "There is no mpirun on PATH.",
        remedy:
          "apt-get install openmpi-bin; on a cluster: module load openmpi, or another name that "
          + "your site gives it.")
    ]
  }
  let linked = facts.ranks.first?.libraryVersion ?? ""
  let found = version.split(separator: " ").last.map(String.init) ?? ""
  var result: [Finding] = []
  if !version.contains("Open MPI") {
    result.append(
      Finding(
        topic: .mpirun, severity: .problem,
        sentence: "The mpirun on PATH is not Open MPI's (\(version)): it would start ranks that do "
          + "not find each other.",
        remedy: "Put Open MPI's on PATH, or: update-alternatives --config mpirun"))
  } else if found != linked {
    result.append(
      Finding(
        topic: .mpirun, severity: majorMinor(found) == majorMinor(linked) ? .warning : .problem,
        sentence:
          "mpirun is Open MPI \(found) and this program has loaded the library of \(linked).",
        remedy: "Put the mpirun of the same installation on PATH, or set LD_LIBRARY_PATH to the "
          + "library beside it."))
  } else {
    result.append(
      .ok(.mpirun, "mpirun is Open MPI \(found), as the library that this program loads"))
  }
  if mpirun.refusesRoot {
    result.append(
      Finding(
        topic: .user, severity: .warning,
        sentence: "You are root, for whom mpirun starts nothing unless told.",
        remedy:
          "Run as another user, or with mpirun --allow-run-as-root (Launch/local does it), or set "
          + "OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1."))
  }
  return result + [allocation(mpirun)]
}

private func allocation(_ mpirun: MpirunFacts) -> Finding {
  guard let slots = mpirun.slots, !slots.isEmpty else {
    let words = mpirun.trialFailure.map { ": \($0)" } ?? ""
    return Finding(
      topic: .slots, severity: .problem,
      sentence: "mpirun did not start a trial job of one rank\(words.isEmpty ? "." : words)",
      remedy:
        "See all that it says: mpirun -n 1 hostname; it needs a folder for its files that it may "
        + "write to (TMPDIR, or /tmp), a stack of 256 KiB or more (ulimit -s 8192), and a host "
        + "name of no more than 56 letters before the first dot.")
  }
  let total = slots.map(\.count).reduce(0, +)
  let places = slots.prefix(8).map { "\($0.host): \($0.count)" }.joined(separator: ", ")
  let list = "\(places)\(slots.count > 8 ? ", …" : "")"
  guard total == 1 else {
    return .ok(.slots, "mpirun would start up to \(counted(total, "rank")) (\(list))")
  }
  return Finding(
    topic: .slots, severity: .note, sentence: "mpirun has one slot (\(list)): it starts one rank.",
    remedy: moreSlots)
}

private func userFindings(_ facts: JobFacts) -> [Finding] {
  let users = Set(facts.ranks.map(\.user))
  if users.count > 1 {
    return [
      Finding(
        topic: .user, severity: .warning,
        sentence:
          "Ranks run as different users "
          + "(\(users.sorted().map(String.init).joined(separator: ", "))): "
          + "files that one writes the others may not read.",
        remedy: "Use the same account, with the same number, on all hosts.")
    ]
  }
  guard facts.mpirun == nil, users == [0] else { return [] }
  return [
    Finding(
      topic: .user, severity: .note, sentence: "All ranks run as root.",
      remedy: "In a container that is usual; elsewhere use an account of your own.")
  ]
}
