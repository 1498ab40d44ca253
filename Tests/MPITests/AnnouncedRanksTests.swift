import MPI
import Testing

/// What variables of launchers say.
@Suite("Announced ranks")
struct AnnouncedRanksTests {
  private func announced(_ environment: [String: String]) -> AnnouncedRanks? {
    AnnouncedRanks { environment[$0] }
  }

  @Test(
    "Each launcher's variables are understood",
    arguments: [
      ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK"),
      ("MPI_LOCALNRANKS", "MPI_LOCALRANKID"), ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
      ("MVP_COMM_WORLD_SIZE", "MVP_COMM_WORLD_RANK"), ("MPI_NRANKS", "MPI_RANKID"),
      ("JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK"), ("FLUX_JOB_SIZE", "FLUX_TASK_RANK"),
      ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ])
  func launchers(size: String, rank: String) throws {
    let ranks = try #require(announced([size: "3", rank: "2"]))
    #expect(ranks.size == 3 && ranks.rank == 2 && ranks.isExact && !ranks.isSpeaker)
    #expect(ranks.variable == size)
    #expect(try #require(announced([size: "3", rank: "0"])).isSpeaker)
  }

  @Test(
    "A launcher that tells only numbers has at least so many",
    arguments: ["PMIX_RANK", "PALS_RANKID", "ALPS_APP_PE"])
  func numbersOnly(variable: String) throws {
    let first = try #require(announced([variable: "0"]))
    #expect(first.size == 1 && !first.isExact && !first.isSpeaker)
    let second = try #require(announced([variable: "1"]))
    #expect(second.size == 2 && second.isSpeaker && second.variable == variable)
    #expect(try #require(announced([variable: "5"])).isSpeaker == false)
  }

  @Test("A batch script is no task: it has no step")
  func batchScript() {
    let script = announced(["SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"])
    #expect(script?.size == 1)
    #expect(announced([:]) == nil)
    #expect(announced(["PMI_SIZE": "many", "PMI_RANK": ""]) == nil)
  }

  @Test("Open MPI's mpirun has the last word, of others who speaks of most")
  func several() {
    let outer = [
      "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "PMI_SIZE": "4", "PMI_RANK": "3",
    ]
    #expect(announced(outer)?.variable == "PMI_SIZE")
    let inner = ["OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"]
    #expect(announced(outer.merging(inner) { $1 })?.size == 2)
    #expect(announced(["PMI_SIZE": "6", "MPI_LOCALNRANKS": "2"])?.size == 6)
  }
}
