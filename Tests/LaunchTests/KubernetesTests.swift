import Foundation
import TestSupport
import Testing

/// `Launch/mpijob.yaml`, as far as it can be judged without a cluster.
@Suite(.enabled(if: YAML.canBeRead, "reading YAML needs python3-yaml")) struct KubernetesTests {
  private struct Job: Decodable {
    struct Replicas: Decodable {
      let replicas: Int
      let restartPolicy: String
      let template: Template
    }
    struct Template: Decodable { let spec: Pod }
    struct Pod: Decodable {
      let containers: [Container]
      let volumes: [Volume]?
    }
    struct Container: Decodable {
      let image: String
      let command: [String]
      let args: [String]
      let resources: Resources
      let volumeMounts: [Mount]?
    }
    struct Resources: Decodable {
      let requests: [String: String]
      let limits: [String: String]
    }
    struct Mount: Decodable {
      let name: String
      let mountPath: String
    }
    struct Volume: Decodable {
      struct Directory: Decodable { let medium: String }
      let name: String
      let emptyDir: Directory
    }
    struct Spec: Decodable {
      let slotsPerWorker: Int
      let sshAuthMountPath: String
      let mpiReplicaSpecs: [String: Replicas]
    }
    let apiVersion: String
    let kind: String
    let metadata: [String: String]
    let spec: Spec
  }

  private func job() throws -> Job {
    try JSONDecoder().decode(Job.self, from: YAML.json(of: "Launch/mpijob.yaml"))
  }

  @Test func itIsAJobOfTheMPIOperator() throws {
    let job = try job()
    #expect(job.apiVersion == "kubeflow.org/v2beta1")
    #expect(job.kind == "MPIJob")
    #expect(job.metadata["name"] == "gyre")
    #expect(Set(job.spec.mpiReplicaSpecs.keys) == ["Launcher", "Worker"])
  }

  /// As many ranks as the workers have slots, with CPUs that are all theirs.
  @Test func ranksAndCPUsFit() throws {
    let job = try job()
    let launcher = try #require(job.spec.mpiReplicaSpecs["Launcher"])
    let worker = try #require(job.spec.mpiReplicaSpecs["Worker"])
    #expect(launcher.replicas == 1)
    let start = launcher.template.spec.containers[0]
    #expect(start.command == ["mpirun"])
    let place = try #require(start.args.firstIndex(of: "-n"))
    #expect(start.args[place + 1] == "\(worker.replicas * job.spec.slotsPerWorker)")
    let resources = worker.template.spec.containers[0].resources
    // The threads of its rank, which divides the limit.
    #expect(job.spec.slotsPerWorker == 1 && !start.args.contains("--threads"))
    #expect(try #require(resources.requests["cpu"].flatMap { Int($0) }) > 1)
    #expect(resources.requests == resources.limits)
  }

  @Test func ranksOfAPodShareMemory() throws {
    let pod = try #require(try job().spec.mpiReplicaSpecs["Worker"]).template.spec
    let mount = try #require(pod.containers[0].volumeMounts?.first { $0.mountPath == "/dev/shm" })
    let volume = try #require(pod.volumes?.first { $0.name == mount.name })
    #expect(volume.emptyDir.medium == "Memory")
  }

  /// The files that sshd is told of are those of the image.
  @Test func itFitsTheImage() throws {
    let image = try String(
      contentsOf: Script.root.appending(path: "Launch/Dockerfile"), encoding: .utf8)
    let job = try job()
    let worker = try #require(job.spec.mpiReplicaSpecs["Worker"]).template.spec.containers[0]
    #expect(worker.command == ["/usr/sbin/sshd"])
    #expect(image.contains(">\(try #require(worker.args.last))"))
    #expect(image.contains("'HostKey \(job.spec.sshAuthMountPath)/id_rsa'"))
  }

  /// The command is the one that this gyre understands, and the answer is right.
  @Test func theCommandRuns() throws {
    let launcher = try #require(try job().spec.mpiReplicaSpecs["Launcher"])
    let arguments = launcher.template.spec.containers[0].args
    let place = try #require(arguments.firstIndex(of: "gyre"))
    let command = arguments[(place + 1)...].map { $0 == "1x16384x8x2x64" ? "1x512x8x2x64" : $0 }
    #expect(command.contains("1x512x8x2x64"))
    let outcome = try Script.run(
      "Launch/local", ["-n", "2"] + command,
      environment: ["GYRE_BINARY": BuiltProducts.executable("gyre")])
    #expect(outcome.code == 0, "\(outcome.errors)")
    #expect(outcome.output.contains("passed"))
  }
}

/// YAML, read by Python.
enum YAML {
  /// A Python that has the module.
  private static let python: String? = {
    ["python3", "/usr/bin/python3"].first {
      (try? Script.run("/usr/bin/env", [$0, "-c", "import yaml"]))?.code == 0
    }
  }()

  static let canBeRead = python != nil

  /// A file of the package as JSON.
  static func json(of path: String) throws -> Data {
    let outcome = try Script.run(
      "/usr/bin/env",
      [
        python ?? "python3", "-c",
        "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))", path,
      ])
    return Data(outcome.output.utf8)
  }
}
