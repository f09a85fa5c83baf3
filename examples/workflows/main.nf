// Score cohorts of several tools against held-out people: a process to copy.
//   nextflow run main.nf --real held_out.vcf.gz --train train.vcf.gz --cohorts 'cohorts/*.vcf.gz'
nextflow.enable.dsl = 2

params.real = null
params.train = null
params.cohorts = 'cohorts/*.vcf.gz'
params.metrics = 'allele-frequency ld-decay nearest-neighbours'

process SCORE {
    tag "$tool"
    container 'haplobench'

    input:
    tuple val(tool), path(cohort)
    path real
    path train

    output:
    path "${tool}.csv"

    script:
    def metrics = params.metrics.tokenize().collect { name -> "--metric $name" }.join(' ')
    """
    bench evaluate --real $real --train $train --synthetic $cohort --label $tool $metrics
    bench report evaluate --to report -f csv
    cp report/summary.csv ${tool}.csv
    """
}

workflow {
    cohorts = Channel.fromPath(params.cohorts).map { file -> tuple(file.simpleName, file) }
    scores = SCORE(cohorts, file(params.real), file(params.train))
    scores.collectFile(name: 'scores.csv', storeDir: '.', keepHeader: true)
}
