"""The dataset $name: what it is."""

# Every `bench` command imports this module: import nothing heavy here.

from haplobench import DatasetSpec, hookimpl

from $module.params import ${title}Params


@hookimpl
def haplobench_datasets() -> list[DatasetSpec]:
    """Describe the dataset."""
    return [
        DatasetSpec(
            name="$name",
            version="1",
            target="$module.dataset:$title",
            summary="Made-up people whose sites are independent.",
            params=${title}Params,
        )
    ]
