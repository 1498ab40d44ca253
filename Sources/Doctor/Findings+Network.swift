import Reporting

/// What carries messages, and whether hosts reach each other by it.
func networkFindings(_ facts: JobFacts) -> [Finding] {
  guard facts.hosts.count > 1 else {
    return facts.mpirun == nil
      ? [.ok(.network, "the network is not used, as all ranks are on one host")] : []
  }
  let adapters = adapterFindings(facts)
  let usesTCP = facts.hosts.allSatisfy {
    $0.components["pml"] == ["ob1"] && $0.components["btl"]?.contains("tcp") ?? false
  }
  guard usesTCP else {
    let ways = Set(facts.hosts.map { $0.components["pml"]?.joined(separator: ", ") ?? "" })
    return adapters + [
      .ok(.network, "messages go by \(ways.sorted().joined(separator: ", ")), not TCP")
    ]
  }
  return adapters + interfaceFindings(facts) + fragmentFindings(facts)
}

/// Fast adapters that stand idle.
private func adapterFindings(_ facts: JobFacts) -> [Finding] {
  facts.hosts.filter {
    !$0.infiniband.isEmpty && $0.components["pml"] == ["ob1"]
      && !($0.components["btl"] ?? []).contains { ["openib", "uct", "ofi", "usnic"].contains($0) }
  }.map { host in
    Finding(
      topic: .network, severity: .warning, hosts: [host.name],
      sentence:
        "There is a fast adapter (\(host.infiniband.joined(separator: ", "))), and Open MPI uses "
        + "TCP.",
      remedy:
        "Let it: mpirun --mca pml ucx (libucx0), or --mca pml cm --mca mtl ofi; your site's own "
        + "Open MPI knows best.")
  }
}

/// The interfaces of a host that Open MPI's TCP transport uses.
func interfacesForTCP(_ host: HostFacts) -> [NetworkInterface] {
  let include = host.parameters["btl_tcp_if_include"] ?? ""
  let exclude = host.parameters["btl_tcp_if_exclude"] ?? ""
  func names(_ list: String, _ interface: NetworkInterface) -> Bool {
    list.split(separator: ",").contains { item in
      item == interface.name || network(item)?.contains(interface.address) ?? false
    }
  }
  return host.interfaces.filter {
    $0.isUp && (include.isEmpty ? !$0.isLoopback && !names(exclude, $0) : names(include, $0))
  }
}

private func interfaceFindings(_ facts: JobFacts) -> [Finding] {
  let used = facts.hosts.map(interfacesForTCP)
  let common = commonNetworks(used)
  let remedy =
    "Name the network that all hosts share: mpirun --mca btl_tcp_if_include "
    + (common.first ?? "10.0.0.0/24")
    + " --mca oob_tcp_if_include \(common.first ?? "10.0.0.0/24")"
  var result: [Finding] = []
  for (host, interfaces) in zip(facts.hosts, used) where interfaces.isEmpty {
    result.append(
      Finding(
        topic: .network, severity: .warning, hosts: [host.name],
        sentence: "No interface with an IPv4 address is up that Open MPI may use.", remedy: remedy))
  }
  let owners = Dictionary(
    grouping: used.indices.flatMap { index in used[index].map { ($0, index) } }, by: \.0.address
  ).filter { $0.value.count > 1 }
  for (address, places) in owners.sorted(by: { $0.key < $1.key }) {
    result.append(
      Finding(
        topic: .network, severity: .problem, hosts: places.map { facts.hosts[$0.1].name },
        sentence:
          "Several hosts have the address \(address) (\(places[0].0.name)), and Open MPI may "
          + "use it: a rank that connects to it reaches itself, and the job hangs.", remedy: remedy)
    )
  }
  for (host, interfaces) in zip(facts.hosts, used) {
    let local = interfaces.filter { isLocal($0.name) && owners[$0.address] == nil }.map(\.name)
    if local.isEmpty { continue }
    result.append(
      Finding(
        topic: .network, severity: .warning, hosts: [host.name],
        sentence:
          "Open MPI may use \(listed(local)), which as a rule leads to containers and virtual "
          + "machines of this host and not to other hosts.", remedy: remedy))
  }
  if result.isEmpty, common.isEmpty {
    result.append(
      Finding(
        topic: .network, severity: .note,
        sentence: "Hosts share no network: they reach each other through routers, if at all.",
        remedy: "Give ranks hosts of one network if you can."))
  } else if result.isEmpty {
    let speeds = Set(used.joined().compactMap(\.megabitsPerSecond)).sorted()
    let speed = speeds.isEmpty ? "" : ", \(speeds.map(formatSpeed).joined(separator: " and "))"
    result.append(.ok(.network, "hosts talk TCP over \(listed(common))\(speed)"))
  }
  return result
}

/// Large messages that go as a whole keep others waiting.
private func fragmentFindings(_ facts: JobFacts) -> [Finding] {
  facts.hosts.compactMap { host in
    guard let flags = host.parameters["btl_tcp_flags"], flags != "1" else { return nil }
    return Finding(
      topic: .openMPI, severity: .note, hosts: [host.name],
      sentence: "btl_tcp_flags is set to \(flags): two hosts that send to each other take turns "
        + "instead of using both directions.",
      remedy: "Leave it unset; gyre then asks for fragments (1).")
  }
}

/// The networks of which every host has an address of its own.
private func commonNetworks(_ hosts: [[NetworkInterface]]) -> [String] {
  let sets = hosts.map { interfaces in
    Set(interfaces.compactMap { network("\($0.address)/\($0.prefixLength)")?.description })
  }
  guard let first = sets.first else { return [] }
  return sets.dropFirst().reduce(first) { $0.intersection($1) }.sorted()
}

/// Whether an interface of this name as a rule leads nowhere but into this host.
private func isLocal(_ name: String) -> Bool {
  ["docker", "virbr", "br-", "veth", "cni", "flannel", "cali", "lxc", "podman", "vmnet", "vboxnet"]
    .contains { name.hasPrefix($0) }
}

private func formatSpeed(_ megabits: Int) -> String {
  megabits < 1000 ? "\(megabits) Mbit/s" : "\(threeDigits(Double(megabits) / 1000)) Gbit/s"
}
